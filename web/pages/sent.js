// The page /sent: the list of what somebody sent, and with ?m=ID one message, who opened it, its lock and dates.
import { byId, call, change, complain, explain, session, show, signInAgain, text, wire } from "./service.js";
import { wireAccount } from "./signin.js";

const id = new URLSearchParams(location.search).get("m");
const when = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
const date = (ms) => (ms === 0 ? "" : when.format(new Date(ms)));
let after = "";

function cell(row, content, label, kind) {
  const place = row.insertCell();
  if (label !== undefined) {
    place.dataset.label = label;
  }
  if (kind !== undefined) {
    place.className = kind;
  }
  place.append(content);
  return place;
}

/** An address in its own direction, which the column's does not follow. */
function isolated(words) {
  const place = document.createElement("bdi");
  place.textContent = words;
  return place;
}

/** The state in a word, and in how many have opened it. */
function state(message) {
  const place = document.createElement("span");
  const word = document.createElement("span");
  word.className = `state ${message.state}`;
  word.textContent = text(`sent_state_${message.state}`);
  place.append(word);
  const notes = [];
  if (message.opened > 0 || message.recipients > 1) {
    notes.push(text("sent_opened_by", { n: message.opened, m: message.recipients }));
  }
  if (message.locked_for > 0) {
    notes.push(text("sent_locked_for", { n: message.locked_for }));
  }
  for (const note of notes) {
    const line = document.createElement("span");
    line.className = "count";
    line.textContent = note;
    place.append(line);
  }
  return place;
}

const recipients = ({ to, recipients: n }) => (n > 1 ? text("sent_and_others", { address: to, n: n - 1 }) : to);

function addRow(message) {
  const row = byId("rows").insertRow();
  const link = document.createElement("a");
  link.href = `/sent?m=${message.m}`;
  link.dir = "auto";
  link.textContent = message.subject || text("no_subject");
  cell(row, link);
  cell(row, isolated(recipients(message)), text("sent_to"));
  cell(row, date(message.sent), text("sent_when"), "when");
  cell(row, state(message));
}

/** The page behind what is shown; at first the first one. */
async function load() {
  const query = new URLSearchParams({ after, text: byId("filter-text").value.trim(), state: byId("filter-state").value });
  const page = await call("GET", `/v1/sent?${query}`);
  page.messages.forEach(addRow);
  ({ after } = page);
  byId("more").hidden = after === "";
  const any = byId("rows").rows.length > 0;
  byId("rows").parentElement.hidden = !any;
  byId("none").textContent = any ? "" : text(after === "" ? "sent_none" : "sent_none_yet");
}

function tellRefusal(section, refusal, known) {
  if (refusal.code === "credentials") {
    signInAgain();
  } else {
    complain(section, explain(refusal, known));
  }
}

async function listFrom(start) {
  byId("list").querySelector(".error").textContent = "";
  if (start) {
    byId("rows").replaceChildren();
    after = "";
  }
  try {
    await load();
  } catch (refusal) {
    tellRefusal("list", refusal);
  }
}

/** Asks before a lock, in words that say what it does not do; true: go on. */
function sure(recipient) {
  const dialog = byId("sure");
  byId("sure-text").textContent = recipient === undefined ? text("sent_lock_text") : text("sent_lock_one_text", { address: recipient });
  dialog.returnValue = "";
  dialog.showModal();
  byId("sure-title").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "lock"), { once: true });
  });
}

async function apply(body) {
  byId("done").textContent = "";
  byId("message").querySelector(".error").textContent = "";
  try {
    showMessage(await change("POST", `/v1/sent/${id}`, body));
    byId("done").textContent = text("sent_done");
  } catch (refusal) {
    tellRefusal("message", refusal);
  }
}

async function setLock(locked, recipient) {
  if (!locked || await sure(recipient)) {
    await apply(recipient === undefined ? { locked } : { locked, recipient });
  }
}

function addRecipient(opening) {
  const row = byId("recipients").insertRow();
  const opened = opening.times > 0;
  cell(row, isolated(opening.address || text("sent_anybody")));
  cell(row, opened ? date(opening.first) : text("sent_never"), opened ? text("sent_first") : undefined);
  cell(row, opened ? date(opening.last) : "", text("sent_last"));
  cell(row, opened ? String(opening.times) : "", text("sent_times"));
  const actions = cell(row, opening.locked ? state({ state: "locked", opened: 0, recipients: 1, locked_for: 0 }) : "");
  if (opening.address !== "") {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "second";
    button.textContent = text(opening.locked ? "sent_unlock_one" : "sent_lock_one");
    button.setAttribute("aria-label", `${button.textContent}: ${opening.address}`);
    button.addEventListener("click", () => setLock(!opening.locked, opening.address));
    actions.append(" ", button);
  }
}

/** A time as the field for it wants it: of this place, to the minute. */
function fieldValue(ms) {
  if (ms === 0) {
    return "";
  }
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

function showMessage(message) {
  byId("message-subject").textContent = message.subject || text("no_subject");
  byId("message-state").replaceChildren(state(message));
  byId("message-sent").textContent = date(message.sent);
  byId("message-receipt").hidden = !message.receipt;
  byId("recipients").replaceChildren();
  message.openings.forEach(addRecipient);
  byId("lock").textContent = text(message.locked ? "sent_unlock" : "sent_lock");
  byId("lock").dataset.locks = message.locked ? "" : "yes";
  byId("expires").value = fieldValue(message.expires);
  byId("read-by").value = fieldValue(message.read_by);
}

function wireMessage() {
  byId("lock").addEventListener("click", () => setLock(byId("lock").dataset.locks === "yes"));
  for (const form of document.querySelectorAll("form.date")) {
    const field = form.querySelector("input");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const at = new Date(field.value).getTime();
      const passed = form.dataset.date === "read_by" && at <= Date.now();
      if (Number.isNaN(at) || passed) {
        complain("message", text("error_sent_date"), field);
      } else {
        apply({ [form.dataset.date]: at });
      }
    });
    form.querySelector("button[type=button]").addEventListener("click", () => apply({ [form.dataset.date]: 0 }));
  }
}

async function signedIn() {
  if (id === null) {
    show("list");
    await listFrom(true);
    return;
  }
  try {
    showMessage(await call("GET", `/v1/sent/${id}`));
    show("message");
    byId("message-subject").focus();
  } catch (refusal) {
    show("list");
    await listFrom(true);
    tellRefusal("list", refusal, { unknown: "sent_none" });
  }
}

wire(() => location.reload()); // nothing of the list stays in the document
wireAccount(signedIn);
wireMessage();
byId("list").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  listFrom(true);
});
byId("more").addEventListener("click", () => listFrom(false));
try {
  const { user } = await session();
  if (user === null) {
    show("signin");
  } else {
    await signedIn();
  }
} catch {
  show("signin");
}
