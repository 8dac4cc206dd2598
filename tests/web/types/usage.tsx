// What the types allow; what they must refuse has an `@ts-expect-error`.

import { createElement } from "react";

const element = document.querySelector("hindsight-vote")!;
element.refresh = async () => "a new token";
element.refresh = () => "a new token";
// @ts-expect-error: a token is a string
element.refresh = async () => 1;
element.reload();
element.addEventListener("vote", ({ detail }) => {
  const id: string = detail.id;
  const score: number | undefined = detail.value ?? detail.rating;
  // @ts-expect-error: the person's name is not in it
  detail.sub;
  return [id, score];
});
element.addEventListener("retract", ({ detail }) => detail.trace?.length);
element.addEventListener("error", ({ detail }) => {
  const action: "read" | "vote" | "retract" = detail.action;
  return [action, detail.status, detail.message];
});
element.addEventListener("click", (event) => event.clientX);

export const created = document.createElement("hindsight-vote");

export const Answer = ({ token }: { token: string }) => (
  <hindsight-vote
    src="https://feedback.example.com"
    token={token}
    trace="conv-1:7"
    scale="thumbs"
    reasons="wrong,too long"
    comment
    className="vote"
    refresh={async () => "a new token"}
    onvote={({ detail }) => detail.version}
    onerror={({ detail }) => detail.status}
  />
);

// @ts-expect-error: there is no such scale
export const wrong = <hindsight-vote scale="hearts" />;
export const plain = createElement("p");
