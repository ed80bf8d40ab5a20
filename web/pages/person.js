// /account: what there is of an account, and changes of it. docs/keyservice/accounts.md.
import {
  byId, call, change, complain, explain, Refusal, session, show, signedInUser, text, wire,
} from "./service.js";
import { wireAccount } from "./signin.js";
import { makePasskey, passkeysPossible } from "./passkey.js";

let account = null;
let secret = ""; // of a code app that is being set up
let afterSignIn = null; // what is done again once it is known who asks

const date = (unixMs) => new Intl.DateTimeFormat(document.documentElement.lang,
  { dateStyle: "medium", timeStyle: "short" }).format(unixMs);

function element(name, className, content) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = content;
  return made;
}

/** Shows one of the page's steps, or with none of them the account itself. */
function turnTo(id) {
  byId("mine").hidden = id !== undefined;
  show(id ?? "mine");
  if (id === undefined) {
    byId("mine-title").focus();
  }
}

function action(label, act, what) {
  const button = element("button", "link", label);
  button.type = "button";
  button.setAttribute("aria-label", `${label}: ${what}`);
  button.addEventListener("click", act);
  return button;
}

function row(what, below, ...acts) {
  const item = document.createElement("li");
  const words = element("div", "what", "");
  const name = element("strong", "", "");
  name.append(element("bdi", "", what));
  words.append(name, element("span", "quiet", below));
  const buttons = element("div", "acts", "");
  buttons.append(...acts);
  item.append(words, buttons);
  return item;
}

const isUnproven = ({ code }) => code === "credentials" || code === "fresh";

/** A change of the account. Where it wants to know again who asks, it does, and then goes on. */
async function alter(id, method, path, body, known) {
  try {
    return await change(method, path, body);
  } catch (refusal) {
    if (isUnproven(refusal)) {
      throw refusal;
    }
    complain(id, explain(refusal, known));
    return null;
  }
}

/** Runs `work`; if the sign-in is too old for it, it is run once more after a new one. */
async function confirmed(work) {
  byId("mine-done").textContent = "";
  try {
    await work();
  } catch (refusal) {
    if (!isUnproven(refusal)) {
      complain("mine", explain(refusal));
      return;
    }
    askAgain(work);
  }
}

function askAgain(work) {
  afterSignIn = work;
  byId("signin-title").textContent = text("confirm_title");
  byId("signin-lead").textContent = text("confirm_lead");
  byId("confirm-cancel").hidden = false;
  turnTo("signin");
  byId("signin-user").value = account?.user ?? "";
  byId("signin-user").dispatchEvent(new Event("change"));
  byId("signin-password").focus();
}

function done(name = "saved") {
  byId("mine-done").textContent = text(name);
}

function showPlaces(id, places, word, prefix) {
  byId(`${id}-list`).replaceChildren(...places.map((place) => {
    const label = place.label || text("place_unknown");
    const below = place.here ? text("place_here") : text("place_seen", { date: date(place.seen) });
    const acts = place.here && id === "sessions" ? [] : [action(text(word), () => confirmed(async () => {
      await alter(id, "DELETE", `${prefix}${place.id}`, {});
      await refresh();
    }), `${label}, ${below}`)];
    return row(label, below, ...acts);
  }));
  byId(`${id}-end`).hidden = places.filter((place) => !place.here).length === 0;
}

function renaming(passkey, item) {
  const form = element("form", "", "");
  const input = document.createElement("input");
  input.type = "text";
  input.maxLength = 40;
  input.value = passkey.name;
  input.setAttribute("aria-label", text("passkey_name"));
  const button = element("button", "", text("save"));
  button.type = "submit";
  form.append(input, button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    confirmed(async () => {
      if (await alter("passkeys", "POST", `/v1/account/passkeys/${passkey.id}`, { name: input.value.trim() })) {
        await refresh();
      }
    });
  });
  item.replaceChildren(form);
  input.focus();
}

function showPasskeys() {
  byId("passkeys-list").replaceChildren(...account.passkeys.map((passkey) => {
    const below = passkey.used === 0 ? date(passkey.created) : text("place_seen", { date: date(passkey.used) });
    const item = row(passkey.name, below,
      action(text("passkey_rename"), () => renaming(passkey, item), passkey.name),
      action(text("passkey_remove"), () => confirmed(async () => {
        await alter("passkeys", "DELETE", `/v1/account/passkeys/${passkey.id}`, {});
        await refresh();
      }), passkey.name));
    return item;
  }));
  byId("passkeys-none").hidden = account.passkeys.length > 0;
  byId("passkeys-form").hidden = !passkeysPossible();
}

function showTotp() {
  secret = "";
  byId("totp-state").textContent = account.totp ? text("totp_on", { n: account.recovery }) : text("totp_off");
  byId("totp-begin").hidden = account.totp;
  byId("totp-new").hidden = true;
  byId("totp-form").hidden = !account.totp;
  byId("totp-confirm").hidden = true;
  byId("totp-end").hidden = !account.totp;
  byId("totp-recovery").hidden = !account.totp;
  byId("totp-code").value = "";
}

async function refresh() {
  await session(); // what the account has decides whether its role is withheld
  account = await call("GET", "/v1/account");
  byId("mine-address").textContent = text("account_address", { address: account.user });
  byId("person-user").value = account.user;
  byId("phrase-field").value = account.phrase;
  showPasskeys();
  showTotp();
  showPlaces("sessions", account.sessions, "session_end", "/v1/account/sessions/");
  showPlaces("devices", account.devices, "device_end", "/v1/account/devices/");
}

/** A form of one of the sheets: its fields to `act`, once at a time. */
function onForm(id, act) {
  const form = byId(id).querySelector("form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") {
      return;
    }
    form.setAttribute("aria-busy", "true");
    byId(id).querySelector(".error").textContent = "";
    for (const input of form.querySelectorAll("[aria-invalid]")) {
      input.removeAttribute("aria-invalid");
    }
    try {
      await confirmed(() => act(new FormData(form), event.submitter?.value));
    } finally {
      form.removeAttribute("aria-busy");
    }
  });
}

onForm("person-password", async (form) => {
  if (await alter("person-password", "POST", "/v1/account/password", { password: form.get("password") })) {
    byId("person-password-new").value = "";
    await refresh();
    done("password_done");
  }
});

onForm("phrase", async (form) => {
  if (await alter("phrase", "POST", "/v1/account/phrase", { phrase: form.get("phrase").trim() })) {
    await refresh();
    done();
  }
});

onForm("passkeys", async (form) => {
  const challenge = await call("GET", "/v1/challenge");
  const name = form.get("name").trim() || account.user.slice(0, 40);
  if (!(await call("GET", "/v1/account")).fresh) {
    throw new Refusal("fresh");
  }
  let made;
  try {
    made = await makePasskey(challenge, account.user, account.passkeys.map(({ credential }) => credential), text("brand"));
  } catch (fault) {
    if (fault.name !== "NotAllowedError") { // that is how a person's "no" is told
      complain("passkeys", text(fault.name === "InvalidStateError" ? "passkey_known" : "error_passkey"));
    }
    return;
  }
  if (await alter("passkeys", "POST", "/v1/account/passkeys", { name, ...made }, { conflict: "passkey_known" })) {
    byId("passkey-name").value = "";
    await refresh();
    done();
  }
});

byId("totp-begin").addEventListener("click", () => confirmed(async () => {
  const answer = await alter("totp", "POST", "/v1/account/totp", {});
  if (answer === null) {
    return;
  }
  ({ secret } = answer);
  byId("totp-image").src = answer.image;
  byId("totp-secret").textContent = secret.replace(/(.{4})(?=.)/g, "$1 ");
  byId("totp-uri").href = answer.uri;
  for (const [id, hidden] of [["totp-begin", true], ["totp-new", false], ["totp-form", false], ["totp-confirm", false]]) {
    byId(id).hidden = hidden;
  }
  byId("totp-code").focus();
}));

/** The codes are shown once, until their owner says that they are kept. */
function showCodes({ codes }) {
  byId("recovery-codes").replaceChildren(...codes.map((code) => element("li", "", code)));
  turnTo("recovery");
}

onForm("totp", async (form, what) => {
  const code = form.get("code");
  const known = { second_factor: "error_second", bad_request: "error_second" };
  if (secret !== "") {
    const kept = secret;
    const answer = await alter("totp", "POST", "/v1/account/totp/confirm", { secret: kept, code }, known);
    if (answer !== null) {
      showCodes(answer);
    }
  } else if (what === "recovery") {
    const answer = await alter("totp", "POST", "/v1/account/recovery", { code }, known);
    if (answer !== null) {
      showCodes(answer);
    }
  } else if (await alter("totp", "DELETE", "/v1/account/totp", { code }, known)) {
    await refresh();
    done();
  }
});

byId("recovery-kept").addEventListener("click", async () => {
  byId("recovery-codes").replaceChildren();
  await confirmed(refresh);
  turnTo();
});

for (const id of ["sessions", "devices"]) {
  byId(`${id}-end`).addEventListener("click", () => confirmed(async () => {
    await alter(id, "DELETE", `/v1/account/${id}/others`, {});
    await refresh();
    done();
  }));
}

// Always with the password or a passkey just before.
byId("delete-button").addEventListener("click", () => askAgain(async () => {
  if (await alter("delete", "DELETE", "/v1/account", {}, { conflict: "delete_role" })) {
    turnTo("gone");
  }
}));

byId("confirm-cancel").addEventListener("click", () => {
  afterSignIn = null;
  turnTo();
});

/** Signed in: the account, or what was asked for before. */
async function signedIn() {
  const work = afterSignIn;
  afterSignIn = null;
  if (work !== null && account !== null && signedInUser() !== account.user) {
    account = null; // somebody else: nothing of the first one's is done
    secret = "";
    await refresh();
    turnTo();
    return;
  }
  if (account === null) {
    await refresh();
  }
  turnTo();
  if (work !== null) {
    await confirmed(work);
  }
}

wire(() => location.reload()); // nothing of the account stays in the document
wireAccount(signedIn);
try {
  const { user } = await session();
  if (user === null) {
    turnTo("signin");
  } else {
    await signedIn();
  }
} catch (refusal) {
  turnTo("signin");
  complain("signin", explain(refusal));
}
