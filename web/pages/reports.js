// The page /reports: what was sealed, opened and refused, by day, policy, user or domain, and as a file.
import { byId, call, complain, deny, explain, session, show, text, wire } from "./service.js";
import { wireAccount } from "./signin.js";

const COUNTS = ["sealed", "opened", "unopened", "expired", "locked", "failed"];
const ROWS_MAX = 1000; // what one answer holds: docs/api/openapi.json
const DAYS = 30;
const DAY_MS = 86400000;

const locale = document.documentElement.lang;
const number = new Intl.NumberFormat(locale);
const dayText = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" });
const form = byId("report").querySelector("form");

/** Days are those of the service, which counts in UTC. */
const day = (ms) => new Date(ms).toISOString().slice(0, 10);

function addRow(by, row) {
  const line = byId("report-rows").insertRow();
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = by === "day" ? dayText.format(new Date(row.name)) : row.name;
  name.dir = by === "day" ? "auto" : "ltr";
  line.append(name);
  for (const count of COUNTS) {
    const cell = line.insertCell();
    cell.textContent = number.format(row[count]);
    cell.dataset.label = text(`report_${count}`);
  }
}

function note(by, rows) {
  if (rows.length === 0) {
    return text("report_none");
  }
  const notes = [];
  if (by === "user") {
    notes.push(text("report_months"));
  }
  if (rows.length >= ROWS_MAX) {
    notes.push(text("report_cut", { n: number.format(ROWS_MAX) }));
  }
  return notes.join(" ");
}

async function load() {
  const asked = new URLSearchParams(new FormData(form));
  const by = asked.get("by");
  const { rows } = await call("GET", `/v1/admin/reports?${asked}`);
  byId("report-name").textContent = text(`report_by_${by}`);
  byId("report-rows").replaceChildren();
  byId("report-rows").dataset.by = by;
  for (const row of rows) {
    addRow(by, row);
  }
  byId("report-table").hidden = rows.length === 0;
  byId("report-note").textContent = note(by, rows);
  asked.set("format", "csv");
  byId("report-file").href = `/v1/admin/reports?${asked}`;
  byId("report-file-row").hidden = rows.length === 0;
}

async function loadOrTell() {
  byId("report").querySelector(".error").textContent = "";
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
  }
  try {
    await load();
  } catch (refusal) {
    if (refusal.code === "rights" || refusal.code === "no_second_factor") {
      deny();
    } else if (refusal.code === "credentials") {
      show("signin");
    } else {
      complain("report", explain(refusal, { bad_request: "report_error_dates" }));
    }
  }
}

async function begin() {
  const { user } = await session();
  if (user === null) {
    byId("report-rows").replaceChildren();
    show("signin");
    return;
  }
  show("report");
  byId("report-title").focus();
  await loadOrTell();
}

byId("report-from").value = day(Date.now() - (DAYS - 1) * DAY_MS);
byId("report-to").value = day(Date.now());
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  if (button.disabled) {
    return;
  }
  button.disabled = true;
  await loadOrTell();
  button.disabled = false;
});
wire(begin);
wireAccount(begin);
try {
  await begin();
} catch {
  show("signin");
}
