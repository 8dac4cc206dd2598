// Types of <hindsight-vote>. It needs no import: include this file, and for React 19 hindsight-vote.react.d.ts too.

/** Every text that the element shows or reads out. What is left out stays English. */
export interface HindsightVoteTexts {
  /** Label of the group of buttons: `Rate this answer`. */
  group: string;
  up: string;
  down: string;
  /** Label of a star, `{n}` being its number: `{n} of 5 stars`. */
  star: string;
  /** The button that opens reasons and comment: `Add details`. */
  more: string;
  /** What a chip shows in place of the reason that is sent: `{ "wrong": "Falsch" }`. */
  reasons: Record<string, string>;
  comment: string;
  send: string;
  saved: string;
  retracted: string;
  /** While a request is being retried. */
  waiting: string;
  /** When the service refused a vote, or gave no answer after six tries. */
  failed: string;
  /** When the token has expired and `refresh` brought no other. */
  expired: string;
}

export interface HindsightVoteAttributes {
  /** Base URL of the service, with or without `/v1`. Without it: the origin of the page. */
  src?: string;
  /** A vote token. */
  token?: string;
  /** The trace, where the token reaches more than one. */
  trace?: string;
  /** The span, where the token reaches more than one. */
  span?: string;
  /** `thumbs` is the default. `stars` needs a token with the scale `rating`. */
  scale?: "thumbs" | "stars";
  /** Reasons to choose from after a thumbs down, or after one to three stars, with commas between them. */
  reasons?: string;
  /** The same after a thumbs up, or after four or five stars. */
  "reasons-up"?: string;
  /** Asks for a comment as well. The token must allow one. */
  comment?: "" | boolean;
  /** `HindsightVoteTexts`, any of them, as JSON. */
  texts?: string;
}

/** A vote as the service has it: what the person wrote, and nothing else. */
export interface HindsightVoteDetail {
  id: string;
  version: number;
  trace: string;
  span?: string;
  /** 1 or -1; absent of stars. */
  value?: number;
  /** 1 to 5; absent of thumbs. */
  rating?: number;
  reasons?: string[];
  comment?: string;
}

export interface HindsightVoteErrorDetail {
  /** What failed: reading the vote, casting or changing it, or retracting it. */
  action: "read" | "vote" | "retract";
  /** HTTP status, or 0 if there was no answer. */
  status: number;
  /** The service's error code. */
  code?: string;
  /** The service's message. It is for developers: the person has been shown a text of the element's own. */
  message?: string;
}

export interface HindsightVoteEventMap extends HTMLElementEventMap {
  /** The service has saved a vote. */
  vote: CustomEvent<HindsightVoteDetail>;
  /** The service has removed a vote. It brings what was removed, or only the target if nothing was left to remove. */
  retract: CustomEvent<Partial<HindsightVoteDetail>>;
}

export interface HindsightVoteElement extends HTMLElement {
  /** Called when the service says that the token has expired. Resolves to a new token. */
  refresh?: () => Promise<string> | string;
  /** Reads the vote again. The element does so by itself when its page becomes visible. */
  reload(): void;
  addEventListener(
    type: "error",
    listener: (this: HindsightVoteElement, event: CustomEvent<HindsightVoteErrorDetail>) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener<K extends Exclude<keyof HindsightVoteEventMap, "error">>(
    type: K,
    listener: (this: HindsightVoteElement, event: HindsightVoteEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "hindsight-vote": HindsightVoteElement;
  }
}
