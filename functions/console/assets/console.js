// What the pages gain with JavaScript. They work without it.
(() => {
  "use strict";
  const all = (selector, act) => document.querySelectorAll(selector).forEach(act);

  // Times in the viewer's zone. The title keeps UTC.
  const near = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  all("time[datetime]", (time) => {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.getTime())) time.textContent = near.format(moment);
  });

  // A button beside what somebody may want to paste elsewhere.
  all("[data-copy]", (button) => {
    const source = document.getElementById(button.dataset.copy);
    if (!source || !navigator.clipboard) return;
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not copied";
      }
      setTimeout(() => { button.textContent = label; }, 2000);
    });
  });

  // A choice that needs no button.
  all("select[data-submit]", (select) => {
    select.addEventListener("change", () => select.form.requestSubmit());
  });

  // Dates belong to a custom range.
  all("#f-from, #f-to", (input) => {
    input.addEventListener("input", () => { document.getElementById("f-range").value = "custom"; });
  });

  // A menu closes when somebody looks elsewhere.
  all("details.account, details.panel", (menu) => {
    document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  });
})();
