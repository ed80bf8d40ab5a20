// What the pages of the key service have in common: its calls, its words, its forms.

const strings = JSON.parse(document.getElementById("strings").textContent);

/** A string of this page's language, with {name} replaced. */
export function text(name, values = {}) {
  return (strings[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

export const byId = (id) => document.getElementById(id);

/** A refusal of the service, or its absence (code "away"). */
export class Refusal extends Error {
  constructor(code, waitSeconds) {
    super(code);
    this.code = code;
    this.waitSeconds = waitSeconds;
  }
}

let csrf = "";
let user = null;
let roles = [];
let withheld = false;

export const signedInUser = () => user;

/** Calls the service; `body` makes it a state change with the token of this session. */
export const call = (method, path, body) => ask(method, path, body, false);

async function ask(method, path, body, wantsBytes, type) {
  const options = { method, credentials: "same-origin", cache: "no-store", headers: {} };
  if (method !== "GET") {
    options.headers = { "Content-Type": type ?? "application/json", "X-Bulla-CSRF": csrf };
    options.body = type === undefined ? JSON.stringify(body ?? {}) : body;
  }
  let response;
  let answer;
  try {
    response = await fetch(path, options);
    if (wantsBytes && response.ok) {
      return new Uint8Array(await response.arrayBuffer());
    }
    answer = await response.json();
  } catch {
    throw new Refusal("away");
  }
  if (!response.ok) {
    throw new Refusal(answer?.error?.code ?? "away", Number(response.headers.get("Retry-After")));
  }
  if (typeof answer.csrf === "string") {
    csrf = answer.csrf;
  }
  if ("user" in answer) {
    if (answer.user !== user || answer.roles !== undefined) {
      withheld = (answer.withheld ?? []).length > 0;
      roles = [...(answer.roles ?? []), ...(answer.writes ? ["writer"] : [])];
    }
    user = answer.user;
    showAccount();
  }
  return answer;
}

export const session = () => call("GET", "/v1/session");

async function changeAs(method, path, body, wantsBytes, type) {
  try {
    return await ask(method, path, body, wantsBytes, type);
  } catch (refusal) {
    if (refusal.code !== "csrf") {
      throw refusal;
    }
    await session();
    return ask(method, path, body, wantsBytes, type);
  }
}

/** A state change; when this page's token has grown old it is fetched anew, once. */
export const change = (method, path, body) => changeAs(method, path, body, false);

/** The same, answered with bytes. */
export const changeForBytes = (method, path, body) => changeAs(method, path, body, true);

/** The same with a body of another type: a Blob. */
export const changeWith = (method, path, type, body) => changeAs(method, path, body, false, type);

function wait(seconds) {
  return seconds > 90
    ? text("minutes", { n: Math.ceil(seconds / 60) })
    : text("seconds", { n: Math.max(1, Math.ceil(seconds || 60)) });
}

/** What to tell a person about a refusal. */
export function explain(refusal, known = {}) {
  const code = refusal instanceof Refusal ? refusal.code : "away";
  const name = known[code] ?? `error_${code}`;
  return text(name in strings ? name : "error_away", {
    address: user ?? "",
    wait: wait(refusal.waitSeconds),
  });
}

/** Shows one of the page's sections, hides the others, and moves the focus to its heading. */
export function show(id) {
  for (const section of document.querySelectorAll("main > section.sheet")) {
    section.hidden = section.id !== id;
  }
  const section = byId(id);
  section.querySelector(".error")?.replaceChildren();
  const field = section.querySelector("input:not([type=checkbox])");
  (field ?? section.querySelector("h1"))?.focus();
}

/** Instead of what the account's role does not show; what is said above is said once. */
export function deny() {
  byId("denied").querySelector("p").hidden = withheld;
  show("denied");
}

/** The links to other pages: what whoever is signed in may go to. */
function showLinks() {
  const nav = byId("nav");
  for (const link of nav.querySelectorAll("a")) {
    link.hidden = link.dataset.role !== "user" && !link.dataset.role.split(" ").some((role) => roles.includes(role));
  }
  nav.hidden = user === null;
}

function showAccount() {
  showLinks();
  byId("withheld").hidden = user === null || !withheld;
  const account = byId("account");
  if (account === null) {
    return;
  }
  account.hidden = user === null;
  byId("account-name").textContent = user === null ? "" : text("signed_in_as", { address: user });
}

/** Shows an error in a section, and goes to the field that it is about; where there is none, to the error. */
export function complain(id, message, field) {
  const place = byId(id).querySelector(".error");
  place.textContent = message;
  place.tabIndex = -1;
  field?.setAttribute("aria-invalid", "true");
  (field ?? place).focus();
}

/** The session has ended meanwhile. */
export function signInAgain() {
  show("signin");
  complain("signin", text("error_again"));
}

/** Handles a section's form: one call at a time, and an error in place of silence. */
export function onSubmit(id, action, known) {
  const form = byId(id)?.querySelector("form");
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    if (button.disabled) {
      return;
    }
    const label = button.textContent;
    byId(id).querySelector(".error").textContent = "";
    for (const input of form.querySelectorAll("[aria-invalid]")) {
      input.removeAttribute("aria-invalid");
    }
    button.disabled = true;
    button.textContent = text("working");
    try {
      await action(new FormData(form));
    } catch (refusal) {
      complain(id, explain(refusal, known));
    } finally {
      button.disabled = false;
      button.textContent = label;
    }
  });
}

/** The menu of languages works without this, but then forgets what stands behind the "#". */
function wireLanguage() {
  const form = byId("language");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await change("POST", "/v1/language", { language: new FormData(form).get("language") }).catch(() => {});
    location.reload();
  });
}

/** "Show password" boxes, languages, and signing out. */
export function wire(onSignedOut) {
  wireLanguage();
  for (const box of document.querySelectorAll("[data-shows]")) {
    box.addEventListener("change", () => {
      byId(box.dataset.shows).type = box.checked ? "text" : "password";
    });
    box.form?.addEventListener("submit", () => { // what is sent is hidden again, and no list of past inputs keeps it
      box.checked = false;
      byId(box.dataset.shows).type = "password";
    });
  }
  const button = byId("signout");
  const told = document.createElement("p");
  told.className = "error";
  told.setAttribute("role", "alert");
  button?.parentElement.append(told);
  button?.addEventListener("click", async () => {
    told.textContent = "";
    const refused = await change("DELETE", "/v1/session").then(() => null, (refusal) => refusal);
    const user = await session().then((answer) => answer.user, () => undefined);
    if (refused !== null && user !== null) {
      told.textContent = explain(refused);
      return;
    }
    onSignedOut();
  });
}
