// Shows the page anew when something has come. Without it the page renews itself once a minute; it does nothing else.
"use strict";
const source = new EventSource("/ui/live");
let lost = false;
async function renew() {
  const answer = await fetch("/ui");
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.title = page.title;
  document.body.replaceWith(page.body);
}
source.onmessage = renew;
source.onerror = () => { lost = true; };
source.onopen = () => { if (lost) renew(); lost = false; };
