// <hindsight-vote>: thumbs or stars for a Hindsight vote token. docs/votes.md explains its use.
if (globalThis.customElements && !customElements.get("hindsight-vote")) {
  const TEXTS = {
    group: "Rate this answer",
    up: "Good answer",
    down: "Bad answer",
    star: "{n} of 5 stars",
    more: "Add details",
    reasons: {},
    comment: "Comment",
    send: "Send",
    saved: "Thank you",
    retracted: "Vote removed",
    waiting: "Not sent yet, trying again",
    failed: "Your vote was not saved",
    expired: "Your session has expired. Reload the page to vote.",
  };
  const TARGET = ["src", "trace", "span", "token"];
  const LOOKS = ["scale", "reasons", "reasons-up", "comment", "texts"];
  const NONE = { score: 0, reasons: [], comment: "" };
  const THUMB =
    "M7 11v9H4.5a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1zl4-8a2.5 2.5 0 0 1 2.5 2.5V9.5h5a2 2 0 0 1 2 2.3l-1.2 6.5a2 2 0 0 1-2 1.7H7";
  const STAR = "m12 3.5 2.6 5.3 5.9.9-4.3 4.1 1 5.8-5.2-2.7-5.2 2.7 1-5.8-4.3-4.1 5.9-.9z";
  // Colors are mixed from the text color, so they fit the page around the element, light or dark.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
:host{display:inline-block;max-width:100%;font-size:14px;line-height:1.4;--line:color-mix(in srgb,currentColor 45%,transparent)}
[hidden],:host([hidden]){display:none!important}
*{box-sizing:border-box}
.row,.chips{display:flex;flex-wrap:wrap;align-items:center}
.chips{gap:6px}
.chips:not(:has(:not([hidden]))){display:none}
.panel{display:grid;gap:8px;width:360px;max-width:100%;padding:4px 6px 6px}
button,textarea{font:inherit;color:inherit;background:none;border:1px solid #0000;border-radius:8px;padding:4px 10px;min-height:var(--hindsight-size,32px)}
button{cursor:pointer}
button:hover,.chip[aria-pressed=true]{background:color-mix(in srgb,currentColor 10%,transparent)}
:focus-visible{outline:2px solid;outline-offset:1px}
.icon{display:grid;place-items:center;padding:0;width:var(--hindsight-size,32px)}
.icon:not(.on),.message:not(.bad){color:color-mix(in srgb,currentColor 75%,transparent)}
svg{width:20px;fill:none;stroke:currentColor;stroke-width:1.5;stroke-linejoin:round}
.star{width:calc(var(--hindsight-size,32px) - 4px)}
.down svg{scale:1 -1}
.on{color:var(--hindsight-up,color-mix(in srgb,currentColor 40%,#12a150))}
.down.on,.bad{color:var(--hindsight-down,color-mix(in srgb,currentColor 40%,#e5484d))}
.star.on{color:var(--hindsight-star,color-mix(in srgb,currentColor 30%,#d98a00))}
.on svg{fill:currentColor}
.more{text-decoration:underline var(--line);text-underline-offset:3px}
.chip,.send,textarea{border-color:var(--line)}
.chip,.send{border-radius:99px}
.chip[aria-pressed=true]{border-color:currentColor}
textarea{min-height:68px;padding:8px 10px;resize:vertical}
.send{justify-self:end}
.send:disabled{opacity:.5;cursor:default}
.message{padding:0 6px}
@media (pointer:coarse){:host{--hindsight-size:44px}}
`);

  const make = (tag, part, props, ...children) => {
    const node = Object.assign(document.createElement(tag), { className: part, part }, props);
    node.append(...children);
    return node;
  };
  const icon = (path) => {
    const [svg, line] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.ariaHidden = "true";
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  };
  const list = (text) => (text ?? "").split(",").map((item) => item.trim()).filter(Boolean);
  const pause = (ms, wake) =>
    new Promise((done) => {
      setTimeout(done, ms);
      if (wake) addEventListener("online", done, { once: true });
    });
  // What of a token says whose vote it is and on what: a renewed token says the same.
  const claims = (token) => {
    try {
      const payload = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
      const { aud, sub, name, trace, span } = JSON.parse(atob(payload));
      return [aud, sub, name, trace, span];
    } catch {
      return [];
    }
  };

  // A page's callback and the token that it brought last. Whoever still has an older one gets that without a call.
  const renewals = new WeakMap();
  const renew = (refresh, expired) => {
    const before = renewals.get(refresh);
    const renewal = (async () => {
      const last = await before;
      return last && last !== expired ? last : refresh();
    })().catch(() => {});
    renewals.set(refresh, renewal);
    return renewal;
  };

  const shown = new Set();
  const unread = new Set();

  class HindsightVote extends HTMLElement {
    static observedAttributes = [...TARGET, ...LOOKS];
    #root = this.attachShadow({ mode: "open" });
    // The vote on one target: `now` is shown, `saved` is what the service has. Every answer brings a new object.
    #state = {};
    #texts;
    #stars;
    #scores;
    #chips;
    #more;
    #message;
    #panel;
    #box;
    #submit;

    connectedCallback() {
      this.#root.adoptedStyleSheets = [sheet];
      shown.add(this);
      this.#aim();
      this.#build();
    }

    disconnectedCallback() {
      shown.delete(this);
    }

    attributeChangedCallback(name) {
      if (!shown.has(this)) return;
      if (TARGET.includes(name)) this.#aim();
      else this.#build();
    }

    // Takes up the target that the attributes name. What is pending for another one is still sent.
    #aim() {
      const [src, trace, span, token] = TARGET.map((name) => this.getAttribute(name) ?? undefined);
      const key = JSON.stringify([src, trace, span, claims(token)]);
      if (key !== this.#state.key) {
        const base = (src ?? "").replace(/\/+(v1\/*)?$/, "");
        this.#state = { key, base, trace, span, element: this, now: NONE, saved: NONE };
      }
      this.#state.token = token;
      this.#render();
      this.reload();
    }

    reload() {
      if (!this.#state.token) return;
      if (!unread.size) setTimeout(HindsightVote.#readAll, 9);
      unread.add(this);
    }

    static #readAll() {
      const groups = {};
      for (const element of unread) {
        const state = element.#state;
        (groups[state.base + " " + state.token] ??= []).push(state);
      }
      unread.clear();
      for (const states of Object.values(groups)) {
        while (states.length) HindsightVote.#readSome(states.splice(0, 100));
      }
    }

    static async #readSome(states) {
      const before = states.map((state) => state.now);
      const targets = states.map(({ trace, span }) => ({ trace, span }));
      const { status, data, error } = await HindsightVote.#ask(states, () => ["POST", "s/read", { targets }]);
      states.forEach((state, i) => {
        const { element, now, busy } = state;
        if (!data) element.#emit("error", { action: "read", status, ...error });
        // What was pressed meanwhile is newer than what was read.
        else if (!busy && now === before[i]) {
          state.now = state.saved = element.#voteOf(data[i]);
          element.#render();
        }
      });
    }

    // Repeats a request until it is answered. `attempt` builds it for each try, so that the newest vote is sent.
    static async #ask(states, attempt, waiting) {
      for (let tries = 1, renewed = 0; ; tries++) {
        const { base, token, element } = states[0];
        const [method, path, content] = attempt();
        let status = 0;
        let answer, after;
        try {
          const response = await fetch(base + "/v1/vote" + path, {
            method,
            body: content && JSON.stringify(content),
            headers: { authorization: "Bearer " + token, ...(content && { "content-type": "application/json" }) },
            keepalive: path !== "s/read",
            // The service takes at most 30 s, so an abandoned request cannot overtake the next one.
            signal: AbortSignal.timeout(35e3),
          });
          after = response.headers.get("retry-after");
          if (!response.ok) status = response.status;
          answer = await response.json();
          status = response.status;
        } catch {}
        if (status === 401 && renewed++ < 2) {
          const newest = states[0].token;
          const fresh = newest !== token ? newest : element.refresh && (await renew(element.refresh, token));
          if (fresh) {
            for (const state of states) state.token = fresh;
            continue;
          }
        }
        if ((status && status < 500 && status !== 429) || tries > 5) return { status, ...answer };
        waiting?.();
        const { onLine } = navigator;
        if (!onLine) tries = 0;
        await pause(after > 0 ? after * 1e3 : onLine ? 500 * 2 ** tries * (1 + Math.random()) : 3e4, !status);
      }
    }

    // Sends what is shown until it is what the service has. One vote has one request under way at a time.
    async #send(state) {
      if (state.busy) return;
      state.busy = true;
      do {
        let sent;
        const { trace, span } = state;
        const attempt = () => {
          sent = state.now;
          const { score, comment } = sent;
          if (!score) return ["DELETE", "?" + new URLSearchParams(JSON.parse(JSON.stringify({ trace, span })))];
          const vote = { [this.#stars ? "rating" : "value"]: score, trace, span };
          const reasons = sent.reasons.filter((reason) => this.#chips.some((chip) => chip.value === reason));
          if (reasons[0]) vote.reasons = reasons;
          if (comment && this.#box) vote.comment = comment;
          return ["PUT", "", vote];
        };
        const { status, data, error } = await HindsightVote.#ask([state], attempt, () => this.#say(state, "waiting"));
        const cast = !!sent.score;
        const done = cast ? data : status === 200 || status === 404;
        if (done) {
          state.saved = this.#voteOf(cast ? data : null);
          if (state.draft?.trim() === sent.comment) state.draft = undefined;
        }
        if (state.now === sent) {
          state.now = state.saved;
          if (state.draft) state.open = true;
          this.#say(state, done ? (cast ? "saved" : "retracted") : status === 401 ? "expired" : "failed", !done);
        }
        if (done) this.#emit(cast ? "vote" : "retract", data ?? { trace, span });
        else this.#emit("error", { action: cast ? "vote" : "retract", status, ...error });
      } while (state.now !== state.saved);
      state.busy = false;
    }

    #emit(type, detail) {
      this.dispatchEvent(new CustomEvent(type, { bubbles: true, composed: true, detail }));
    }

    #say(state, text, bad) {
      state.text = text;
      state.bad = bad;
      this.#render();
    }

    #change(vote) {
      const state = this.#state;
      state.now = vote;
      this.#say(state);
      this.#send(state);
    }

    #press(score) {
      const state = this.#state;
      const { now } = state;
      const again = score === now.score;
      const flipped = this.#isUp(score) !== this.#isUp(now.score);
      state.open = !again;
      if (again || flipped) state.draft = undefined;
      this.#change(again ? NONE : { ...(flipped ? NONE : now), score });
    }

    #toggle(reason) {
      const { now } = this.#state;
      const others = now.reasons.filter((other) => other !== reason);
      this.#change({ ...now, reasons: now.reasons.includes(reason) ? others : [...others, reason] });
    }

    #comment() {
      const state = this.#state;
      state.open = false;
      this.#change({ ...state.now, comment: state.draft.trim() });
      this.#more.focus();
    }

    #isUp(score) {
      return score > (this.#stars ? 3 : 0);
    }

    #voteOf(data) {
      const { value, rating, reasons = [], comment = "" } = data ?? {};
      return { score: (this.#stars ? rating : Math.sign(value)) || 0, reasons, comment };
    }

    #build() {
      const texts = (this.#texts = { ...TEXTS, ...JSON.parse(this.getAttribute("texts")) });
      const stars = (this.#stars = this.getAttribute("scale") === "stars");
      const path = stars ? STAR : THUMB;
      const button = (part, label, onclick, props, ...inside) =>
        make("button", part, { type: "button", onclick, ariaLabel: label, ...props }, ...inside);
      const rate = (score, part, label) =>
        button("icon " + part, label, () => this.#press(score), { value: score, title: label }, icon(path));
      this.#scores = stars
        ? [1, 2, 3, 4, 5].map((n) => rate(n, "star", texts.star.replace("{n}", n)))
        : [rate(1, "up", texts.up), rate(-1, "down", texts.down)];
      this.#chips = ["reasons", "reasons-up"].flatMap((name) =>
        list(this.getAttribute(name)).map((reason) => {
          const label = texts.reasons[reason] ?? reason;
          return button("chip", null, () => this.#toggle(reason), { value: reason, name }, label);
        }),
      );
      const flip = () => {
        this.#state.open = !this.#state.open;
        this.#render();
      };
      this.#more = button("more", null, flip, {}, texts.more);
      this.#more.setAttribute("aria-controls", "panel");
      this.#message = make("span", "message", { role: "status" });
      this.#panel = make("div", "panel", { id: "panel", role: "group", ariaLabel: texts.more });
      this.#panel.append(make("div", "chips", {}, ...this.#chips));
      this.#box = null;
      if (this.hasAttribute("comment")) {
        const oninput = () => {
          this.#state.draft = this.#box.value;
          this.#render();
        };
        const label = texts.comment;
        this.#box = make("textarea", "comment", { maxLength: 5000, ariaLabel: label, placeholder: label, oninput });
        this.#submit = button("send", null, () => this.#comment(), {}, texts.send);
        this.#panel.append(this.#box, this.#submit);
      }
      const row = make("div", "row", { role: "group", ariaLabel: texts.group });
      row.append(...this.#scores, this.#more, this.#message);
      this.#root.replaceChildren(row, this.#panel);
      this.#render();
    }

    #render() {
      if (!this.#panel) return;
      const { now, open, draft, text, bad } = this.#state;
      const press = (node, on) => {
        node.ariaPressed = on;
        node.part.toggle("pressed", on);
      };
      for (const node of this.#scores) {
        press(node, +node.value === now.score);
        node.classList.toggle("on", this.#stars ? node.value <= now.score : node.ariaPressed === "true");
      }
      const side = this.#isUp(now.score) ? "reasons-up" : "reasons";
      for (const chip of this.#chips) {
        press(chip, now.reasons.includes(chip.value));
        chip.hidden = chip.name !== side;
      }
      const box = this.#box;
      const asks = now.score && (box || this.#chips.some((chip) => !chip.hidden));
      this.#more.hidden = !asks;
      this.#more.ariaExpanded = !!open;
      this.#panel.hidden = !asks || !open;
      if (box) {
        const words = draft ?? now.comment;
        if (box.value !== words) box.value = words;
        this.#submit.disabled = words.trim() === now.comment;
      }
      this.#message.textContent = this.#texts[text] ?? "";
      this.#message.classList.toggle("bad", !!bad);
    }
  }

  // React passes on a property only where there is one.
  HindsightVote.prototype.refresh = null;
  customElements.define("hindsight-vote", HindsightVote);
  // Another tab may have changed a vote.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) for (const element of shown) element.reload();
  });
}
