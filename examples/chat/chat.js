// The page: shows a conversation, and a <hindsight-vote> under each answer.

const { hindsight } = document.currentScript.dataset;
const list = document.querySelector("#messages");
const form = document.querySelector("#ask");

const post = async (path, body) => {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(body ?? {}) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
};

/** A vote token for this conversation. The element asks for another one when it has expired. */
const newToken = async () => (await post("/token")).token;

let token;
function show({ conversation, messages }) {
  for (const [index, text] of [...messages.entries()].slice(list.children.length)) {
    const item = document.createElement("li");
    const words = document.createElement("p");
    words.textContent = text;
    item.append(words);
    item.className = index % 2 ? "answer" : "question";
    if (index % 2) {
      const vote = document.createElement("hindsight-vote");
      vote.setAttribute("src", hindsight);
      vote.setAttribute("token", token);
      // The trace id of the answer. Yours comes from your tracing.
      vote.setAttribute("trace", `${conversation}:${index}`);
      vote.setAttribute("reasons", "wrong,too long,off topic");
      vote.setAttribute("comment", "");
      vote.refresh = newToken;
      item.append(vote);
    }
    list.append(item);
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { text } = Object.fromEntries(new FormData(form));
  form.reset();
  show(await post("/chat", { text }));
});

async function start() {
  // The cookie of this answer names the conversation that the token is for.
  const conversation = await fetch("/chat").then((response) => response.json());
  token = await newToken();
  show(conversation);
}
start();
