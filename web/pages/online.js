// /online/<handle>: shows one message that a file posted here, once its reader has signed in and clicked.
// docs/api/keyservice.md, "Opening online".
import {
  byId, call, changeForBytes, complain, explain, Refusal, session, show, signInAgain, text, wire,
} from "./service.js";
import { wireAccount } from "./signin.js";
import { messageView } from "./view.js";
import { describe, guard } from "./release.js";

// Mail's HTML is parsed into documents where nothing runs (the opener's sanitize.js) and shown in a frame without scripts:
// so this page may make markup of text for these two, and for nothing else. Nothing may make a script of one.
const MARKUP_SINKS = ["DOMParser parseFromString", "HTMLIFrameElement srcdoc"];
globalThis.trustedTypes?.createPolicy("default", { createHTML: (markup, type, sink) => (MARKUP_SINKS.includes(sink) ? markup : null) });

let id; // of the envelope that waits there: the shown message has a link to answer it

const handle = location.pathname.replace(/^\/online\/?/, "");

function fail(refusal) {
  show("failed");
  complain("failed", explain(refusal));
  byId("failed-title").focus();
}

/** Who is signed in, and what may they open? */
async function advance() {
  let envelope;
  try {
    ({ m: id } = await call("GET", `/v1/online/${handle}`));
    envelope = await call("GET", `/v1/envelopes/${id}`);
  } catch (refusal) {
    if (refusal.code === "credentials") {
      show("signin");
    } else {
      fail(refusal);
    }
    return;
  }
  if (envelope.state !== "open") {
    fail(new Refusal(envelope.state));
  } else if (envelope.password_needed) {
    byId("signin-lead").textContent = text("open_password_lead");
    show("signin");
  } else {
    describe(envelope);
    show("message");
    waitToBeSeen();
  }
}

const form = byId("message").querySelector("form");
const button = form.querySelector("button");
const waitToBeSeen = guard(button);

/** The message is read and shown by what reads and shows it in an envelope. */
async function present(mail) {
  const { element, shown } = messageView(mail, id);
  element.classList.remove("card");
  byId("opened").replaceChildren(element);
  byId("main").classList.add("wide");
  show("opened");
  await shown;
  element.querySelector("h1").focus({ preventScroll: true });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (button.disabled || button.getAttribute("aria-disabled") === "true") {
    return;
  }
  const label = button.textContent;
  button.disabled = true;
  button.textContent = text("working");
  try {
    await present(await changeForBytes("POST", `/v1/online/${handle}`));
  } catch (refusal) {
    if (refusal.code === "credentials") {
      signInAgain();
    } else if (refusal.code !== "away") {
      fail(refusal);
    } else {
      complain("message", explain(refusal));
    }
  } finally {
    button.disabled = false;
    button.textContent = label;
  }
});

/** Signed out: what was shown goes too, and what was made of its files. */
function leave() {
  const opened = byId("opened");
  const documents = [...opened.querySelectorAll("iframe")].map((frame) => frame.contentDocument);
  for (const place of [opened, ...documents]) {
    for (const { href, src } of place.querySelectorAll("[href^='blob:'], [src^='blob:']")) {
      URL.revokeObjectURL(href ?? src);
    }
  }
  opened.replaceChildren();
  byId("main").classList.remove("wide");
  return advance();
}

byId("to-register").addEventListener("click", () => {
  byId("register-user").value = byId("signin-user").value;
  show("register");
});
byId("to-signin").addEventListener("click", () => {
  byId("signin-user").value = byId("register-user").value;
  show("signin");
});
wire(leave);
wireAccount(advance);

try {
  await session();
  await advance();
} catch (refusal) {
  fail(refusal);
}
