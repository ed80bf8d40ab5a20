// /write and /contact: a message is written and sealed here, and only its ciphertext leaves. What is
// typed is kept nowhere but on this page. docs/keyservice/write.md.
import {
  byId, call, changeWith, complain, explain, Refusal, session, show, signInAgain, text, wire,
} from "./service.js";
import { wireAccount } from "./signin.js";
import { showLook } from "./look.js";
import { addressesOf, clean, cutUtf8, letterBytes, thread, writeLetter } from "./letter.js";
import { hex, makeId, pack, seal } from "./seal.js";

const KINDS = ["reply", "reply_all", "forward"];
const CHOICE = "m"; // about a message, and what to do is still to be chosen
const BODY_TYPE = "application/vnd.bulla.letter";
const SUBJECT_BYTES_MAX = 512; // outside the sealed message
const DRAFT_MS_MAX = 50 * 60 * 1000; // the service takes no id that is older than an hour

const asked = new URLSearchParams(location.search);
const CONTACT = "/contact";
const contact = location.pathname === CONTACT || location.pathname.startsWith(`${CONTACT}/`);
const profile = contact ? location.pathname.slice(CONTACT.length + 1) : ""; // whose mailbox
const kind = contact ? "contact" : ([CHOICE, ...KINDS].find((name) => asked.has(name)) ?? "compose");
const about = asked.get(kind) ?? "";
const lookPath = about === ""
  ? `/v1/write${profile === "" ? "" : `?${new URLSearchParams({ profile })}`}`
  : `/v1/write/${about}`;
// What the opened message says of itself, where whoever led here knew it: it never leaves this browser
// but inside the sealed message and in the header that mail needs. The address that this browser keeps in its
// history is without it; loading the page again finds it with this tab.
const hash = location.hash || (typeof history.state === "string" ? history.state : "");
history.replaceState(hash, "", location.pathname + location.search);
const told = hash.slice(1).split(",").map((part) => {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
});
const [toldId, toldReferences, ...toldAddresses] = told;

let look = null;
let writer = null; // whose what is typed here is
let files = [];
let dirty = false;
let draft = null; // sealed and perhaps posted: trying again sends the very same, so it is sent once

const form = byId("write").querySelector("form");
const field = (name) => byId(`write-${name}`);

function size(bytes) {
  const mib = bytes / 1048576;
  return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: "megabyte", maximumFractionDigits: mib < 10 ? 1 : 0 }).format(mib);
}

function fail(refusal, name) {
  show("failed");
  complain("failed", name === undefined ? explain(refusal) : text(name));
  byId("failed-title").focus();
}

/** "Re: ", once. */
function subjectOf(subject) {
  if (kind === "forward") {
    return /^(fwd?|wg|tr|rv)\s*:/i.test(subject) ? subject : `Fwd: ${subject}`;
  }
  return /^(re|aw|sv|odp)\s*:/i.test(subject) ? subject : `Re: ${subject}`;
}

/** Everyone else who had the message, as far as its header says. */
function others() {
  const known = [look.from, look.user].map((address) => address.toLowerCase());
  const all = toldAddresses.join(",").match(/[^\s<>,;:"()]+@[^\s<>,;:"()]+/g) ?? [];
  return [...new Set(all.map((address) => address.toLowerCase()))].filter((address) => !known.includes(address));
}

/** Came by a link that leaves open what to do: what the sender allows. */
function choose() {
  const allowed = KINDS.filter((name) => look[name]);
  if (allowed.length === 0) {
    fail(new Refusal("forbidden"), "write_error_flags");
    return;
  }
  byId("choice-list").replaceChildren(...allowed.map((name) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `/write?${name}=${about}${hash}`;
    link.textContent = text(`write_${name}_title`);
    item.append(link);
    return item;
  }));
  byId("choice-from").textContent = look.from;
  byId("choice-subject").textContent = look.subject || text("no_subject");
  show("choice");
}

function prepare() {
  const heading = text(kind === "compose" ? "write_title" : `write_${kind}_title`);
  byId("write-heading").textContent = heading;
  document.title = heading;
  if (contact) {
    field("note").textContent = text("write_contact_note");
  }
  const fixed = kind === "reply" || contact;
  field("to").readOnly = fixed;
  field("hint").hidden = fixed;
  byId("write-cc-row").hidden = fixed;
  byId("write-original-row").hidden = kind !== "forward";
  if (!dirty) {
    field("to").value = contact ? look.contact : kind === "forward" ? "" : look.from;
    field("cc").value = kind === "reply_all" ? others().join(", ") : "";
    field("subject").value = about === "" ? "" : subjectOf(look.subject);
    field("hide").checked = about !== "" && look.subject === "";
  }
  byId("write-files-hint").textContent = text("write_files_hint", { size: size(look.size) });
  show("write");
  (fixed || kind === "reply_all" ? field("text") : field("to")).focus();
}

/** Who is signed in, and what may they do? */
async function advance() {
  draft = null; // it may be another who is signed in now
  try {
    look = await call("GET", lookPath);
    showLook(look.profile);
    if (writer !== null && writer !== look.user) {
      empty();
    }
    writer = look.user;
  } catch (refusal) {
    if (refusal.code === "credentials") {
      byId("signin-title").textContent = text(contact ? "write_contact_title" : "write_title");
      byId("signin-lead").textContent = text(contact ? "write_contact_lead" : "write_lead");
      show("signin");
    } else {
      fail(refusal, contact && refusal.code === "unknown" ? "write_error_contact" : undefined);
    }
    return;
  }
  if (contact && look.contact === "") {
    fail(new Refusal("unknown"), "write_error_contact");
  } else if (kind === "compose" && !look.anyone) {
    fail(new Refusal("forbidden"), "write_error_compose");
  } else if (kind === CHOICE) {
    choose();
  } else if (about !== "" && !look[kind]) {
    fail(new Refusal("forbidden"), "write_error_flags");
  } else {
    prepare();
  }
}

/** The addresses of a field; null where they cannot be written to, which is told. */
function addresses(name) {
  try {
    return addressesOf(field(name).value);
  } catch (wrong) {
    complain("write", text("write_error_to", { address: wrong.message }), field(name));
    return null;
  }
}

const bytesOf = async (file) => new Uint8Array(await file.arrayBuffer());

function listFiles() {
  byId("write-list").replaceChildren(...files.map((file) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    const remove = document.createElement("button");
    name.textContent = `${file.name} – ${size(file.size)}`;
    remove.type = "button";
    remove.className = "link";
    remove.textContent = text("write_remove");
    remove.setAttribute("aria-label", `${text("write_remove")}: ${file.name}`);
    remove.addEventListener("click", () => {
      files = files.filter((other) => other !== file);
      changed();
      listFiles();
      field("files").focus();
    });
    item.append(name, remove);
    return item;
  }));
}

/** Writes and seals; the draft is ready to be posted, as often as it takes. */
async function sealDraft(to, cc) {
  const original = kind === "forward" ? field("original").files[0] : undefined;
  const id = makeId(look.now);
  const subject = clean(field("subject").value);
  const { inReplyTo, references } = about === "" || kind === "forward"
    ? { inReplyTo: "", references: [] }
    : thread(toldId, toldReferences);
  const parts = writeLetter({
    from: { address: look.user },
    to, cc, subject, text: field("text").value,
    files: await Promise.all(files.map(async (file) => ({ name: file.name, type: file.type, bytes: await bytesOf(file) }))),
    forwarded: original === undefined ? undefined : await bytesOf(original),
    messageId: `<${hex(id)}@${look.host}>`, inReplyTo, references, unixMs: look.now,
  });
  const bytes = letterBytes(parts);
  const packed = pack(parts);
  if (packed.length > look.size) {
    throw new Refusal("too_large");
  }
  field("progress").textContent = text("write_sealing");
  const { key, header, chunks } = await seal(packed, id);
  packed.fill(0);
  const head = new TextEncoder().encode(JSON.stringify({
    m: hex(id), kind, ...(about === "" ? {} : { of: about }), ...(profile === "" ? {} : { profile }), to, cc,
    subject: field("hide").checked ? "" : cutUtf8(subject, SUBJECT_BYTES_MAX),
    in_reply_to: inReplyTo, references: references.join(" "), copy: field("copy").checked, bytes,
  }));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, head.length, true);
  return { at: Date.now(), blob: new Blob([length.buffer, head, key, header, ...chunks]) };
}

/** Nothing that was typed stays. */
function empty() {
  form.reset();
  files = [];
  listFiles();
  dirty = false;
  draft = null;
}

function changed() {
  dirty = true;
  draft = null;
}

async function send() {
  const to = addresses("to");
  const cc = to === null || byId("write-cc-row").hidden ? [] : addresses("cc");
  if (to === null || cc === null) {
    return;
  }
  if (to.length === 0) {
    complain("write", text("error_bad_request"), field("to"));
    return;
  }
  if (kind === "forward" && field("original").files.length === 0) {
    complain("write", text("write_original_hint"), field("original"));
    return;
  }
  if (draft === null || Date.now() - draft.at > DRAFT_MS_MAX) {
    draft = null;
    const { now, user } = await call("GET", lookPath);
    if (user !== writer) {
      throw new Refusal("credentials"); // somebody else, in another window
    }
    look = { ...look, now };
    draft = await sealDraft(to, cc);
  }
  field("progress").textContent = text("write_sending");
  await changeWith("POST", "/v1/write", BODY_TYPE, draft.blob);
  empty();
  show("done");
}

form.addEventListener("input", changed);
field("files").addEventListener("change", () => {
  files.push(...field("files").files);
  field("files").value = "";
  changed();
  listFiles();
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button[type=submit]");
  if (button.disabled) {
    return;
  }
  byId("write").querySelector(".error").textContent = "";
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
  }
  button.disabled = true;
  try {
    await send();
  } catch (refusal) {
    if (refusal.code === "credentials") {
      signInAgain();
    } else {
      const known = { forbidden: "write_error_forbidden", too_large: "write_error_size", not_recipient: "write_error_flags" };
      const name = known[refusal.code];
      complain("write", name === undefined ? explain(refusal) : text(name, { size: size(look.size) }));
    }
  } finally {
    button.disabled = false;
    field("progress").textContent = "";
  }
});

/** Nothing of a draft is kept anywhere: whoever leaves is asked first. */
window.addEventListener("beforeunload", (event) => {
  if (dirty) {
    event.preventDefault();
  }
});

byId("to-register").addEventListener("click", () => {
  byId("register-user").value = byId("signin-user").value;
  show("register");
});
byId("to-signin").addEventListener("click", () => {
  byId("signin-user").value = byId("register-user").value;
  show("signin");
});
wire(() => {
  empty();
  return advance();
});
wireAccount(advance); // what was typed stays with who typed it

if (about !== "" && !/^[0-9a-f]{32}$/.test(about)) {
  fail(new Refusal("bad_request"), "error_link");
} else {
  try {
    const { user } = await session();
    if (user === null && profile !== "") {
      showLook(profile);
    }
    await advance();
  } catch (refusal) {
    fail(refusal);
  }
}
