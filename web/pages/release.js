// What the pages that release a message have in common: what it is, and a button that was seen.
import { showLook } from "./look.js";
import { byId, text } from "./service.js";

// How long the message has been in view, in a window that has the focus, before its button acts.
const SEEN_MS_MIN = 1000;

/**
 * A button that acts only after it was seen: another page could open this one under the second click
 * of a double click. It takes the focus meanwhile, and time starts anew when the window loses it.
 */
export function guard(button) {
  let timer = 0;
  const wait = () => {
    clearTimeout(timer);
    button.setAttribute("aria-disabled", "true");
    if (document.visibilityState === "visible" && document.hasFocus()) {
      timer = setTimeout(() => button.removeAttribute("aria-disabled"), SEEN_MS_MIN);
    }
  };
  for (const name of ["focus", "blur", "pageshow", "resize"]) {
    window.addEventListener(name, wait);
  }
  document.addEventListener("visibilitychange", wait);
  return wait;
}

function date(unixMs) {
  return new Intl.DateTimeFormat(document.documentElement.lang,
    { dateStyle: "long", timeStyle: "short" }).format(unixMs);
}

/** Sender, subject and times, before anything is released. */
export function describe(envelope) {
  showLook(envelope.profile);
  byId("message-from").textContent = envelope.from;
  byId("message-subject").textContent = envelope.subject || text("no_subject");
  byId("message-date").textContent = date(envelope.sent);
  byId("message-expires-row").hidden = envelope.expires === 0;
  byId("message-expires").textContent = envelope.expires === 0 ? "" : date(envelope.expires);
}
