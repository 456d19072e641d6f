// Shows the page anew when something has come. Without it the page renews itself once a minute; it does nothing else.
"use strict";
// By origin: an address that a name and a password were typed into may not be fetched again.
const source = new EventSource(location.origin + "/ui/live");
let lost = false;
async function renew() {
  try {
    const answer = await fetch(location.origin + "/ui");
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = page.title;
    document.body.replaceWith(page.body);
  } catch {
    lost = true; // the node is away; when it is back, the stream is opened again
  }
}
source.onmessage = renew;
source.onerror = () => { lost = true; };
source.onopen = () => { if (lost) renew(); lost = false; };
