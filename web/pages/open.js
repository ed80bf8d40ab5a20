// /open?m=<id>#<public key>: gives the key of one envelope to the window that opened this one.
// docs/api/keyservice.md, "The window flow".
import {
  byId, call, change, complain, explain, Refusal, session, show, text, wire, wireAccount,
} from "./service.js";

const id = new URLSearchParams(location.search).get("m") ?? "";
const publicKey = location.hash.slice(1);

/** Tells the envelope. Only it holds the private key, and it checks what it gets. */
function tell(message) {
  window.opener?.postMessage(message, "*");
}

function date(unixMs) {
  return new Intl.DateTimeFormat(document.documentElement.lang,
    { dateStyle: "long", timeStyle: "short" }).format(unixMs);
}

/** Ends with a sentence on this page and a code for the envelope. */
function fail(refusal, name) {
  show("failed");
  complain("failed", name === undefined ? explain(refusal) : text(name));
  byId("failed-title").focus();
  tell({ bulla: 1, m: id, error: refusal.code });
}

function describe(envelope) {
  byId("message-from").textContent = envelope.from;
  byId("message-subject").textContent = envelope.subject || text("no_subject");
  byId("message-date").textContent = date(envelope.sent);
  byId("message-expires-row").hidden = envelope.expires === 0;
  byId("message-expires").textContent = envelope.expires === 0 ? "" : date(envelope.expires);
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
  }
}

async function release() {
  const form = byId("message").querySelector("form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    if (button.disabled) {
      return;
    }
    button.disabled = true;
    try {
      tell(await change("POST", "/v1/release", { m: id, pub: publicKey }));
      show("opened");
    } catch (refusal) {
      if (refusal.code === "credentials") {
        show("signin");
        complain("signin", text("error_again"));
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
byId("close").addEventListener("click", () => window.close());
wire(advance);
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
