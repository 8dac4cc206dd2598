// assistant-ui's thumbs as votes, with a vote token.

import type { FeedbackAdapter } from "@assistant-ui/react";

export interface Options {
  /** Base URL of the service, without `/v1`. */
  src: string;
  /** A vote token that reaches the conversation. Called before each vote; your backend signs it. */
  token: () => Promise<string>;
  /** Told of a vote that was not saved. */
  onError?: (error: Error) => void;
}

/**
 * For `useLocalRuntime(model, { adapters: { feedback: hindsightFeedback({ … }) } })`.
 *
 * The trace of a message is its `metadata.custom.trace`, or else its id.
 */
export function hindsightFeedback({ src, token, onError = console.error }: Options): FeedbackAdapter {
  const vote = async (trace: string, value: 1 | -1, comment?: string) => {
    const response = await fetch(`${src}/v1/vote`, {
      method: "PUT",
      headers: { authorization: `Bearer ${await token()}`, "content-type": "application/json" },
      body: JSON.stringify({ trace, value, comment }),
    });
    if (!response.ok) throw new Error(`vote: ${response.status} ${await response.text()}`);
  };
  // One after the other, so that the last press is what stays.
  let last: Promise<void> = Promise.resolve();
  return {
    submit({ message, type, comment }) {
      const { trace = message.id } = message.metadata.custom as { trace?: string };
      last = last.then(() => vote(trace, type === "positive" ? 1 : -1, comment)).catch(onError);
    },
  };
}
