// /open?m=<id>#<public key>: gives the key of one envelope to the window that opened this one.
// docs/api/keyservice.md, "The window flow".
import {
  byId, call, change, complain, explain, Refusal, session, show, signInAgain, text, wire,
} from "./service.js";
import { wireAccount } from "./signin.js";
import { describe, guard } from "./release.js";

const id = new URLSearchParams(location.search).get("m") ?? "";
const publicKey = location.hash.slice(1);

let clicked = false;
let untold = null;

/** Tells the envelope. Only it holds the private key, and it checks what it gets. */
function tell(message) {
  window.opener?.postMessage(message, "*");
}

/** Tells of a refusal, once someone has clicked here: a page that merely opens this one learns nothing. */
function tellRefusal(message) {
  if (clicked) {
    tell(message);
  } else {
    untold = message;
  }
}

document.addEventListener("click", (event) => {
  if (!event.isTrusted) {
    return;
  }
  clicked = true;
  if (untold !== null) {
    tell(untold);
    untold = null;
  }
}, true);

/** Ends with a sentence on this page and a code for the envelope. */
function fail(refusal, name) {
  show("failed");
  complain("failed", name === undefined ? explain(refusal) : text(name));
  byId("failed-title").focus();
  tellRefusal({ bulla: 1, m: id, error: refusal.code });
}

/** Who is signed in, and what may they open? */
async function advance() {
  let envelope;
  try {
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
const waitToBeSeen = guard(form.querySelector("button"));

function release() {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    if (button.disabled || button.getAttribute("aria-disabled") === "true") {
      return;
    }
    button.disabled = true;
    try {
      tell(await change("POST", "/v1/release", { m: id, pub: publicKey }));
      show("opened");
    } catch (refusal) {
      if (refusal.code === "credentials") {
        signInAgain();
      } else {
        fail(refusal);
      }
    } finally {
      button.disabled = false;
    }
  });
}

byId("to-register").addEventListener("click", () => {
  byId("register-user").value = byId("signin-user").value;
  show("register");
});
byId("to-signin").addEventListener("click", () => {
  byId("signin-user").value = byId("register-user").value;
  show("signin");
});
for (const name of ["close", "failed-close"]) {
  byId(name).addEventListener("click", () => window.close());
}
wire(() => {
  for (const id of ["message-from", "message-subject", "message-date", "message-expires"]) {
    byId(id).textContent = "";
  }
  return advance();
});
wireAccount(advance);
release();

if (!/^[0-9a-f]{32}$/.test(id) || !/^[A-Za-z0-9_-]{87}$/.test(publicKey)) {
  fail(new Refusal("bad_request"), "error_link");
} else {
  try {
    await session();
    await advance();
  } catch (refusal) {
    fail(refusal);
  }
}
