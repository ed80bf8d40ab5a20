// The page /admin: accounts, profiles, engines, the audit log, tokens. The service decides what each may.
import { byId, call, change, complain, deny, explain, onSubmit, Refusal, session, show, signInAgain, text, wire } from "./service.js";
import { wireAccount } from "./signin.js";

const LOGO_BYTES_MAX = 32768;
const DOWNLOAD_PARTS_MAX = 256; // of 4 MiB
const REVOKE_MS = 60000;
const locale = document.documentElement.lang;
const dateTime = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

let roles = [];
let own = "";

const when = (ms) => (ms === 0 ? text("admin_never") : dateTime.format(ms));
const may = (names) => names.split(" ").some((name) => roles.includes(name));
const roleText = (role, profile) => (profile ? `${text(`role_${role}`)}: ${profile}` : text(`role_${role}`));

function button(label, act, kind = "second") {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind;
  made.textContent = label;
  made.addEventListener("click", act);
  return made;
}

/** A section's table of rows; each cell is a text or an element. Told is how many there are, or that a search found none. */
function table(section, heads, rows, searched = false) {
  byId(`${section}-count`).textContent = searched && rows.length === 0 ? text("admin_none") : text("admin_count", { n: rows.length });
  const made = document.createElement("table");
  const headRow = made.createTHead().insertRow();
  for (const head of heads) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = head;
    headRow.append(cell);
  }
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((content, index) => {
      const cell = line.insertCell();
      if (content !== "") { // an empty cell has no label on a phone
        const isolated = document.createElement("bdi");
        isolated.append(content);
        cell.append(isolated);
      }
      if (heads[index] !== "") {
        cell.dataset.label = heads[index];
      }
    });
  }
  byId(`${section}-rows`).replaceChildren(made);
}

/** Runs a call; where the sign-in is too old, asks for another one and comes back to this section. */
async function attempt(section, act) {
  const place = byId(section).querySelector(".error");
  place.textContent = "";
  try {
    await act();
    return true;
  } catch (refusal) {
    if (refusal.code === "fresh" || refusal.code === "credentials") {
      for (const dialog of document.querySelectorAll("dialog[open]")) {
        dialog.close();
      }
      byId("tabs").hidden = true;
      if (refusal.code === "credentials") {
        signInAgain();
      } else {
        show("signin");
        complain("signin", explain(refusal));
      }
      return false;
    }
    place.textContent = explain(refusal);
    return false;
  }
}

/** Asks before something is done; resolves with the typed reason, or null. */
function ask(title, label) {
  const dialog = byId("ask");
  byId("ask-title").textContent = title;
  byId("ask-field").hidden = label === null;
  byId("ask-label").textContent = label ?? "";
  byId("ask-text").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  (label === null ? byId("ask-no") : byId("ask-text")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? byId("ask-text").value.trim() : null), { once: true });
  });
}

/** Shows what is told this once. */
function tell(title, secret) {
  const dialog = byId("told");
  byId("told-title").textContent = title;
  byId("told-text").textContent = secret;
  dialog.addEventListener("close", () => { byId("told-text").textContent = ""; }, { once: true });
  dialog.showModal();
}

/* --- accounts --- */

let found = [];
let part = "";

function showUsers(after) {
  table("users", [text("address"), text("admin_role"), text("admin_state"), ""], found.map((user) => [
    user.address,
    user.roles.map((role) => roleText(role)).join(", "),
    text(user.disabled === 0 ? "admin_active" : "admin_disabled"),
    button(text("admin_details"), () => openPerson(user.number)),
  ]), true);
  byId("users-more").hidden = after === undefined;
  byId("users-more").dataset.after = after ?? "";
}

let searches = 0;

async function loadUsers(after = "") {
  const search = ++searches;
  const query = new URLSearchParams({ q: part });
  if (after !== "") {
    query.set("after", after);
  }
  const answer = await call("GET", `/v1/admin/users?${query}`);
  if (search !== searches) {
    return; // the rows of a later search are there, or on their way
  }
  found = after === "" ? answer.users : [...found, ...answer.users];
  showUsers(answer.after);
}

const verbs = [
  ["enable", "administrator", (person) => person.disabled !== 0],
  ["disable", "administrator", (person) => person.disabled === 0],
  ["sign_out", "administrator helpdesk", () => true],
  ["reset", "administrator helpdesk", () => true],
  ["second_factor", "administrator helpdesk", () => true],
  ["remove", "administrator", () => true],
];
const verbPaths = { sign_out: "end-sessions", second_factor: "second-factor" };

async function doVerb(person, verb) {
  const reason = await ask(text(`admin_${verb}_ask`, { name: person.address }), text("admin_reason"));
  if (reason === null) {
    return;
  }
  await attempt("person", async () => {
    await change("POST", `/v1/admin/users/${person.number}/${verbPaths[verb] ?? verb}`, { reason });
    if (verb === "remove") {
      byId("person").close();
    } else {
      await showPerson(person.number);
    }
    await loadUsers();
  });
}

async function revoke(person, grant) {
  const name = roleText(grant.role, grant.profile);
  if (await ask(text("admin_revoke_ask", { name }), null) === null) {
    return;
  }
  await attempt("person", async () => {
    const { role, profile } = grant;
    await change("POST", `/v1/admin/users/${person.number}/revoke`, profile ? { role, profile } : { role });
    await showPerson(person.number);
    await loadUsers();
  });
}

function fact(name, ...content) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  const value = document.createElement("dd");
  term.textContent = name;
  value.append(...content);
  row.append(term, value);
  return row;
}

async function showPerson(number) {
  const person = await call("GET", `/v1/admin/users/${number}`);
  const isOwn = person.address === own;
  byId("person").dataset.number = number;
  byId("person-title").textContent = person.address;
  byId("person-facts").replaceChildren(
    fact(text("admin_created"), when(person.created)),
    fact(text("admin_state"), person.disabled === 0 ? text("admin_active") : `${text("admin_disabled")}, ${when(person.disabled)}`),
    fact(text("admin_sessions"), String(person.sessions)),
    fact(text("admin_last_seen"), when(person.seen)),
    ...person.grants.map((grant) => fact(
      roleText(grant.role, grant.profile), when(grant.granted), " ",
      ...(may("administrator") && !isOwn ? [button(text("admin_revoke"), () => revoke(person, grant))] : []),
    )),
  );
  byId("person-grant").hidden = isOwn || !may("administrator");
  byId("person-acts").replaceChildren(...verbs
    .filter(([, names, fits]) => !isOwn && may(names) && fits(person))
    .map(([verb]) => button(text(`admin_${verb}`), () => doVerb(person, verb))));
}

const openPerson = (number) => attempt("users", async () => {
  byId("person-error").textContent = "";
  await showPerson(number);
  byId("person").showModal();
  byId("person-title").focus();
});

async function addUser() {
  const address = await ask(text("admin_add"), text("address"));
  if (address === null) {
    return;
  }
  await attempt("users", async () => {
    const made = await change("POST", "/v1/admin/users", { address });
    await loadUsers();
    tell(text("admin_once_password"), made.password);
  });
}

function wireUsers() {
  onSubmit("users", async (form) => {
    part = form.get("part").trim();
    await loadUsers();
  });
  byId("users-more").addEventListener("click", () => attempt("users", () => loadUsers(byId("users-more").dataset.after)));
  byId("users-add").addEventListener("click", addUser);
  byId("person-close").addEventListener("click", () => byId("person").close());
  byId("person-grant").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = new FormData(byId("person-grant"));
    const number = Number(byId("person").dataset.number);
    const body = { role: form.get("role") };
    if (body.role === "profile_administrator") {
      body.profile = form.get("profile").trim();
    }
    await attempt("person", async () => {
      await change("POST", `/v1/admin/users/${number}/grant`, body);
      await showPerson(number);
      await loadUsers();
    });
  });
}

/* --- profiles --- */

async function loadProfiles() {
  const { profiles } = await call("GET", "/v1/admin/profiles");
  table("profiles", [text("admin_name"), text("admin_heading"), text("admin_days"), ""], profiles.map((profile) => [
    profile.name, profile.title, String(profile.retention_days),
    button(text("admin_details"), () => openProfile(profile.name)),
  ]));
}

function showPicture(url) {
  byId("profile-picture").hidden = url === "";
  byId("profile-picture").src = url;
}

const openProfile = (name) => attempt("profiles", async () => {
  // Saving asks for a new sign-in: better now than when all is typed.
  const { fresh } = await call("GET", "/v1/account");
  if (!fresh) {
    throw new Refusal("fresh");
  }
  let profile = { name, title: "", text: "", link: "", contact: "", locale: "", retention_days: 0, logo: "" };
  try {
    profile = await call("GET", `/v1/admin/profiles/${encodeURIComponent(name)}`);
  } catch (refusal) {
    if (refusal.code !== "unknown") {
      throw refusal;
    }
  }
  const dialog = byId("profile");
  const form = dialog.querySelector("form");
  byId("profile-title").textContent = name;
  byId("profile-error").textContent = "";
  for (const field of ["title", "text", "link", "contact", "locale", "retention_days"]) {
    form.elements.namedItem(field).value = String(profile[field]);
  }
  byId("profile-logo").value = "";
  byId("profile-bare").checked = false;
  showPicture(profile.logo);
  dialog.dataset.name = name;
  dialog.showModal();
});

function readLogo(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

async function saveProfile() {
  const dialog = byId("profile");
  const form = new FormData(dialog.querySelector("form"));
  const body = {};
  for (const field of ["title", "link", "contact", "locale"]) {
    body[field] = form.get(field).trim();
  }
  body.text = form.get("text").replaceAll("\r\n", "\n");
  if (may("administrator")) {
    body.retention_days = Number(form.get("retention_days"));
  }
  const [file] = byId("profile-logo").files;
  if (file !== undefined && file.size > LOGO_BYTES_MAX) {
    byId("profile-error").textContent = text("admin_logo");
    return;
  }
  if (file !== undefined) {
    body.logo = await readLogo(file);
  } else if (byId("profile-bare").checked) {
    body.logo = "";
  }
  await attempt("profile", async () => {
    await change("PUT", `/v1/admin/profiles/${encodeURIComponent(dialog.dataset.name)}`, body);
    dialog.close();
    await loadProfiles();
  });
}

function wireProfiles() {
  onSubmit("profiles", (form) => openProfile(form.get("name").trim()));
  byId("profile-cancel").addEventListener("click", () => byId("profile").close());
  byId("profile").querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    saveProfile();
  });
  for (const option of byId("language-choice").options) {
    if (option.value !== "") {
      byId("profile-locale").append(new Option(option.text, option.value));
    }
  }
}

/* --- engines and tokens --- */

async function loadEngines() {
  const { engines } = await call("GET", "/v1/admin/engines");
  table("engines", [text("admin_name"), text("admin_created"), text("admin_state"), ""], engines.map((engine) => [
    engine.name, when(engine.enrolled), engine.revoked === 0 ? text("admin_active") : `${text("admin_revoked")}, ${when(engine.revoked)}`,
    engine.revoked === 0 ? button(text("admin_revoke"), () => take("engines", engine.name, `/v1/admin/engines/${encodeURIComponent(engine.name)}`)) : "",
  ]));
}

async function loadTokens(after = "", before = []) {
  const answer = await call("GET", `/v1/admin/tokens${after === "" ? "" : `?after=${after}`}`);
  const tokens = [...before, ...answer.tokens];
  if (answer.after !== undefined && tokens.length < 1000) {
    return loadTokens(answer.after, tokens);
  }
  table("tokens", [text("admin_name"), text("address"), text("admin_role"), text("admin_expires"), text("admin_used"), ""], tokens.map((token) => [
    token.name, token.address, roleText(token.role, token.profile), when(token.expires), when(token.used),
    button(text("admin_revoke"), () => take("tokens", token.name, `/v1/admin/tokens/${token.number}`)),
  ]));
  return undefined;
}

async function take(section, name, path) {
  if (await ask(text("admin_revoke_ask", { name }), null) === null) {
    return;
  }
  await attempt(section, async () => {
    await change("DELETE", path);
    await loaders[section]();
  });
}

function wireMachines() {
  onSubmit("engines", (form) => attempt("engines", async () => {
    const made = await change("POST", "/v1/admin/engines", { name: form.get("name").trim() });
    tell(text("admin_once_code"), made.code);
  }));
  onSubmit("tokens", (form) => attempt("tokens", async () => {
    const body = { name: form.get("name").trim(), role: form.get("role"), days: Number(form.get("days")) };
    if (body.role === "profile_administrator") {
      body.profile = form.get("profile").trim();
    }
    const made = await change("POST", "/v1/admin/tokens", body);
    await loadTokens();
    tell(text("admin_once_token"), made.token);
  }));
}

/* --- the audit log --- */

let lines = [];

async function loadAudit(after = "") {
  const query = new URLSearchParams();
  for (const name of ["event", "user", "m"]) {
    const value = byId(name === "m" ? "audit-message" : `audit-${name}`).value.trim();
    if (value !== "") {
      query.set(name, value);
    }
  }
  for (const [name, days] of [["from", 0], ["until", 1]]) {
    const day = byId(`audit-${name}`).valueAsDate;
    if (day !== null) {
      query.set(name, new Date(day.getUTCFullYear(), day.getUTCMonth(), day.getUTCDate() + days).getTime());
    }
  }
  if (after !== "") {
    query.set("after", after);
  }
  const answer = await call("GET", `/v1/admin/audit?${query}`);
  lines = after === "" ? answer.lines : [...lines, ...answer.lines];
  table("audit", [text("admin_time"), text("admin_event"), text("admin_who"), text("admin_message"), text("admin_by"), text("admin_details")], lines.map((line) => [
    when(line.at), line.outcome ? `${line.event}: ${line.outcome}` : line.event, line.user ?? "", line.m ?? "",
    [line.by, line.from].filter(Boolean).join(", "), line.detail ?? "",
  ]), true);
  byId("audit-more").hidden = answer.after === undefined;
  byId("audit-more").dataset.after = answer.after ?? "";
}

async function download() {
  const parts = [];
  let after = "0";
  for (let n = 0; n < DOWNLOAD_PARTS_MAX && after !== null; n++) {
    const response = await fetch(`/v1/admin/audit/lines?after=${after}`, { credentials: "same-origin", cache: "no-store" });
    if (!response.ok) {
      await call("GET", `/v1/admin/audit/lines?after=${after}`);
      return;
    }
    parts.push(await response.arrayBuffer());
    after = response.headers.get("X-Bulla-After");
  }
  if (after !== null) {
    byId("audit").querySelector(".error").textContent = text("admin_download_cut");
    return; // half a log looks like a whole one
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type: "text/plain" }));
  link.download = "audit.log";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), REVOKE_MS); // the browser reads it in its own time
}

function wireAudit() {
  onSubmit("audit", () => loadAudit());
  byId("audit-more").addEventListener("click", () => attempt("audit", () => loadAudit(byId("audit-more").dataset.after)));
  byId("audit-download").addEventListener("click", () => attempt("audit", download));
  byId("audit-verify").addEventListener("click", () => attempt("audit", async () => {
    byId("audit-chain").textContent = text("working");
    const found = await change("POST", "/v1/admin/audit/verify");
    byId("audit-chain").textContent = found.bad_line === 0
      ? text("admin_chain_whole", { n: found.lines }) : text("admin_chain_broken", { n: found.bad_line });
  }));
}

/* --- sections --- */

const loaders = { users: loadUsers, profiles: loadProfiles, engines: loadEngines, audit: loadAudit, tokens: loadTokens };

/** The section that the address names, or the first that this account may see. */
async function open() {
  const links = [...byId("tabs").querySelectorAll("a")].filter((link) => !link.hidden);
  const link = links.find(({ hash }) => hash === location.hash) ?? links[0];
  const name = link.hash.slice(1);
  for (const other of links) {
    if (other === link) {
      other.setAttribute("aria-current", "page");
    } else {
      other.removeAttribute("aria-current");
    }
  }
  byId("tabs").hidden = false;
  show(name);
  await attempt(name, () => loaders[name]());
}

async function begin() {
  const answer = await session();
  own = answer.user;
  roles = answer.roles ?? [];
  if (own === null) {
    byId("tabs").hidden = true;
    show("signin");
    return;
  }
  for (const element of document.querySelectorAll("[data-right]")) {
    element.hidden = !may(element.dataset.right);
  }
  if (roles.length === 0) {
    deny();
    return;
  }
  await open();
}

byId("ask").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("ask").close("yes");
});
byId("ask-no").addEventListener("click", () => byId("ask").close());
wire(() => location.reload()); // nothing of what was shown stays in the document
wireAccount(begin);
wireUsers();
wireProfiles();
wireMachines();
wireAudit();
window.addEventListener("hashchange", () => {
  if (own !== null && roles.length > 0) {
    open();
  }
});
try {
  await begin();
} catch {
  show("signin");
}
