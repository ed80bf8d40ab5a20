// Signing in, registering and choosing a new password, for every page that has their sections.
import { byId, call, change, complain, explain, onSubmit, session, show, signInAgain, text } from "./service.js";
import { askForPasskey, passkeysPossible } from "./passkey.js";

const field = (id) => byId(id)?.value.trim() ?? "";

let asked = null; // the address whose phrase is shown, or is on its way

/** The phrase of the address that stands in the form, where this browser is known for it. */
async function showPhrase() {
  const place = byId("signin-phrase");
  const user = field("signin-user");
  if (user === asked) {
    return;
  }
  asked = user;
  place.textContent = "";
  let phrase = "";
  if (user.includes("@")) {
    try {
      ({ phrase } = await change("POST", "/v1/device", { user }));
    } catch {
      // A phrase that cannot be fetched is not shown, which is what its owner looks for.
    }
  }
  if (user === asked) {
    place.textContent = phrase === "" ? "" : text("phrase_shown", { phrase });
  }
}

/** Buttons that go to another of the page's sections, and take the address along. */
function wireSections() {
  for (const button of document.querySelectorAll("[data-shows-section]")) {
    const { showsSection } = button.dataset;
    button.hidden = byId(showsSection) === null;
    button.addEventListener("click", () => {
      const from = field(`${button.closest("section").id}-user`);
      show(showsSection);
      const to = byId(`${showsSection}-user`);
      if (to !== null && from !== "") {
        to.value = from;
      }
    });
  }
}

function wirePasskey(onSignedIn) {
  const button = byId("signin-passkey");
  if (button === null || !passkeysPossible()) {
    return;
  }
  button.hidden = false;
  button.addEventListener("click", async () => {
    let answer;
    try {
      answer = await askForPasskey(await call("GET", "/v1/challenge"));
    } catch (refusal) {
      if (refusal.name !== "NotAllowedError") { // that is how a person's "no" is told
        complain("signin", text("error_passkey"));
      }
      return;
    }
    try {
      await change("POST", "/v1/session/passkey", answer);
      await onSignedIn();
    } catch (refusal) {
      complain("signin", explain(refusal, { credentials: "error_passkey" }));
    }
  });
}

export function wireAccount(shown) {
  let address = "";
  let verify = "";
  let ticket = "";

  /** The links on the page are those of who has just signed in. */
  async function onSignedIn() {
    await session().catch(() => {});
    await shown();
  }

  /** What a right password or code leads to: the page, the second step, or a password of one's own. */
  async function advance(answer) {
    if (answer.needs === undefined) {
      await onSignedIn();
      return;
    }
    ({ ticket } = answer);
    if (answer.needs === "password") {
      byId("renew-user").value = address; // for who keeps passwords
      show("renew");
      byId("renew-password").focus();
    } else {
      show("second");
    }
  }

  async function mailCode(form, path) {
    address = form.get("user").trim();
    await change("POST", path, { user: address, password: form.get("password") });
    verify = `${path}/verify`;
    byId("code-lead").textContent = text("code_lead", { address });
    show("code");
  }

  // What is shown is not left in a field of text that the browser would remember.
  for (const box of document.querySelectorAll("[data-shows]")) {
    box.form.addEventListener("submit", () => {
      byId(box.dataset.shows).type = "password";
      box.checked = false;
    });
  }
  onSubmit("signin", async (form) => {
    address = form.get("user").trim();
    const answer = await change("POST", "/v1/session", { user: address, password: form.get("password") });
    byId("signin-password").value = "";
    byId("signin-phrase").textContent = "";
    asked = null;
    await advance(answer);
  });
  onSubmit("second", async (form) => {
    const answer = await change("POST", "/v1/session/second", { user: address, ticket, code: form.get("code") });
    byId("second-code").value = "";
    await advance(answer);
  }, { credentials: "error_second", bad_request: "error_second" });
  onSubmit("renew", async (form) => {
    try {
      await change("POST", "/v1/session/password", { user: address, ticket, password: form.get("password") });
    } catch (refusal) {
      if (refusal.code !== "credentials") {
        throw refusal;
      }
      byId("renew-password").value = "";
      signInAgain(); // the ticket's time is over: no password here would help
      return;
    }
    byId("renew-password").value = "";
    await onSignedIn();
  }, { conflict: "renew_same" });
  onSubmit("register", async (form) => {
    await mailCode(form, "/v1/accounts");
    byId("register-password").value = "";
  });
  onSubmit("reset", async (form) => {
    await mailCode(form, "/v1/reset");
    byId("reset-password").value = "";
  });
  onSubmit("code", async (form) => {
    const answer = await change("POST", verify, { user: address, code: form.get("code") });
    byId("code-code").value = "";
    await advance(answer);
  }, { credentials: "error_code", bad_request: "error_code" });
  byId("code-again")?.addEventListener("click", () => show(verify === "/v1/reset/verify" ? "reset" : "register"));
  // A browser that fills the form in by itself tells of no change.
  byId("signin-user")?.addEventListener("change", showPhrase);
  byId("signin-user")?.addEventListener("blur", showPhrase);
  byId("signin-password")?.addEventListener("focus", showPhrase);
  wireSections();
  wirePasskey(onSignedIn);
}
