// <hindsight-vote> in the JSX of React 19.

import type { DetailedHTMLProps, HTMLAttributes } from "react";

import type {
  HindsightVoteAttributes,
  HindsightVoteDetail,
  HindsightVoteElement,
  HindsightVoteErrorDetail,
} from "./hindsight-vote";

type Html = DetailedHTMLProps<HTMLAttributes<HindsightVoteElement>, HindsightVoteElement>;

/** React names the listeners of a custom element by its events: `onvote`, not `onVote`. */
interface Jsx extends Omit<Html, "onError">, HindsightVoteAttributes {
  refresh?: HindsightVoteElement["refresh"];
  onvote?: (event: CustomEvent<HindsightVoteDetail>) => void;
  onretract?: (event: CustomEvent<Partial<HindsightVoteDetail>>) => void;
  onerror?: (event: CustomEvent<HindsightVoteErrorDetail>) => void;
}

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "hindsight-vote": Jsx;
    }
  }
}
