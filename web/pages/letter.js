// Writes a message (RFC 5322, MIME) as parts that seal.js packs: attachments stay bytes, and are base64
// for whoever opens the message.
import { concat, partBytes } from "./seal.js";

const WORD_BYTES = 42; // of text in an encoded word, so that its line has at most 76 characters
const LINE_CHARS = 76;
const TEXT_LINE_CHARS = 998; // RFC 5322, 2.1.1
const PIECE_CHARS = 54; // of a parameter that is cut in pieces
const NAME_CHARS_MAX = 200;

const utf8 = new TextEncoder();
const isPlain = (text) => /^[\x20-\x7e]*$/.test(text);

function base64(bytes) {
  let text = "";
  for (const byte of bytes) {
    text += String.fromCharCode(byte);
  }
  return btoa(text);
}

/** RFC 2047: encoded words, cut between characters. */
export function encodeWords(text) {
  const words = [];
  let piece = "";
  const flush = () => {
    if (piece !== "") {
      words.push(`=?UTF-8?B?${base64(utf8.encode(piece))}?=`);
    }
    piece = "";
  };
  for (const character of text) {
    if (utf8.encode(piece + character).length > WORD_BYTES) {
      flush();
    }
    piece += character;
  }
  flush();
  return words.join("\r\n ");
}

/** One line of text: no control, no line end, no direction mark that could make it read otherwise. */
export const clean = (text) => text.toWellFormed().replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g, " ").trim();

/** The start of a text, cut between characters, that has at most so many bytes in UTF-8. */
export function cutUtf8(text, bytesMax) {
  let start = "";
  let bytes = 0;
  for (const character of text) {
    bytes += utf8.encode(character).length;
    if (bytes > bytesMax) {
      break;
    }
    start += character;
  }
  return start;
}

/**
 * The addresses of a list as people type and paste it: between commas, semicolons or blanks, or in <>
 * behind a name. Throws the one that is none.
 */
export function addressesOf(typed) {
  const pieces = typed.replace(/"[^"]*"\s*(?=<)/g, " ").split(/[,;\r\n]+/).flatMap((piece) => {
    const words = piece.replace(/<[^<>]*>/g, " ").split(/\s+/).filter((word) => word !== "");
    const named = [...piece.matchAll(/<([^<>]*)>/g)].map(([whole, address]) => address.trim() || whole);
    return named.length === 0 ? words : [...words.filter((word) => /[@<>]/.test(word)), ...named];
  });
  for (const address of pieces) {
    if (!/^[\x21-\x7e]+@[\x21-\x7e]+$/.test(address) || /[<>()[\]\\,;:"]/.test(address)) {
      throw new Error(address);
    }
  }
  return [...new Set(pieces)];
}

/** A value of unstructured text after `name: `. */
function unstructured(name, value) {
  const text = clean(value);
  const line = `${name}: ${text}`;
  if (isPlain(text) && !text.includes("=?") && line.length <= LINE_CHARS) {
    return `${line}\r\n`;
  }
  return `${name}:\r\n ${encodeWords(text)}\r\n`;
}

function mailbox({ name, address }) {
  const shown = clean(name ?? "");
  if (shown === "") {
    return address;
  }
  const phrase = isPlain(shown) && !shown.includes("=?")
    ? `"${shown.replace(/["\\]/g, "\\$&")}"`
    : encodeWords(shown);
  return `${phrase}\r\n <${address}>`;
}

const addressList = (name, addresses) => addresses.length === 0 ? "" : `${name}: ${addresses.join(",\r\n ")}\r\n`;

const MESSAGE_ID = /<[\x21-\x3b\x3d\x3f\x41-\x7e]{1,250}@[\x21-\x3b\x3d\x3f\x41-\x7e]{1,250}>/g; // fits a line of a header

/** Message-IDs of a field, and nothing else that stands there. */
export const messageIds = (value) => (value ?? "").match(MESSAGE_ID) ?? [];

/** What an answer carries (RFC 5322, 3.6.4): the whole thread, at most 20 of it. */
export function thread(messageId, references, inReplyTo) {
  const parent = messageIds(messageId).slice(0, 1);
  const before = messageIds(references);
  const known = before.length > 0 ? before : messageIds(inReplyTo).slice(0, 1);
  const all = [...known.filter((id) => !parent.includes(id)), ...parent];
  return { inReplyTo: parent.join(""), references: all.length > 20 ? [all[0], ...all.slice(-19)] : all };
}

/** A file's name as it is offered to whoever saves it. */
export const fileName = (name) => clean(name.replace(/^.*[/\\]/, "")).slice(0, NAME_CHARS_MAX) || "attachment";

/** RFC 2231: `filename*0*=UTF-8''…`, in pieces where one line is too short. */
export function parameter(name, value) {
  if (isPlain(value) && value.length <= PIECE_CHARS && !/["\\%]|=\?/.test(value)) {
    return `;\r\n ${name}="${value}"`;
  }
  const units = [];
  for (const byte of utf8.encode(value)) {
    const character = String.fromCharCode(byte);
    units.push(/[\w.-]/.test(character) && byte < 0x80 ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`);
  }
  const pieces = [""];
  for (const unit of units) {
    if (pieces.at(-1).length + unit.length > PIECE_CHARS) {
      pieces.push("");
    }
    pieces[pieces.length - 1] += unit;
  }
  if (pieces.length === 1) {
    return `;\r\n ${name}*=UTF-8''${pieces[0]}`;
  }
  return pieces.map((piece, i) => `;\r\n ${name}*${i}*=${i === 0 ? "UTF-8''" : ""}${piece}`).join("");
}

/** RFC 5322, 3.3, in UTC. */
export const dateOf = (unixMs) => new Date(unixMs).toUTCString().replace("GMT", "+0000");

function textPart(text) {
  const lines = text.toWellFormed().replace(/\r\n?|\n/g, "\r\n").replace(/(?<!\r\n)$/, "\r\n");
  const bytes = utf8.encode(lines);
  const plain = bytes.every((byte) => byte < 0x80 && byte !== 0) && lines.split("\r\n").every((line) => line.length <= LINE_CHARS);
  const head = (encoding) => utf8.encode(`Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n`);
  return plain ? [{ text: head("7bit") }, { text: bytes }] : [{ text: head("base64") }, { run: bytes }];
}

const typeOf = (type) => (/^[a-z]+\/[a-z\d.+-]{1,100}$/i.test(type) && !/^(message|multipart)\//i.test(type) ? type : "application/octet-stream");

function filePart({ name, type, bytes }) {
  const shown = fileName(name);
  return [
    { text: utf8.encode(`Content-Type: ${typeOf(type)}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment${parameter("filename", shown)}\r\n\r\n`) },
    { run: bytes },
  ];
}

const LF = 10;
const CR = 13;
const isAscii = (bytes) => bytes.every((byte) => byte < 0x80);

/** Lines as mail has them: none too long, and each ends in CR LF, which stand nowhere else. */
function hasMailLines(bytes) {
  let start = 0;
  for (let at = 0; at < bytes.length; at++) {
    if ((bytes[at] === LF && bytes[at - 1] !== CR) || (bytes[at] === CR && bytes[at + 1] !== LF)) {
      return false;
    }
    if (bytes[at] === LF) {
      start = at + 1;
    } else if (bytes[at] !== CR && at - start >= TEXT_LINE_CHARS) {
      return false;
    }
  }
  return true;
}

/** RFC 2046, 5.2.1: a message within a message is not encoded. One that mail cannot carry so is a file. */
const fitsWithin = (bytes) => hasMailLines(bytes) && !bytes.includes(0);

function messagePart(bytes) {
  if (!fitsWithin(bytes)) {
    return filePart({ name: "message.eml", type: "", bytes });
  }
  const encoding = isAscii(bytes) ? "7bit" : "8bit";
  return [
    { text: utf8.encode(`Content-Type: message/rfc822\r\nContent-Transfer-Encoding: ${encoding}\r\nContent-Disposition: attachment; filename="message.eml"\r\n\r\n`) },
    { text: bytes },
  ];
}

/**
 * The message as parts. `from` is { name, address }; `to` and `cc` are addresses; `files` are
 * { name, type, bytes }; `forwarded` is a whole message or undefined.
 */
export function writeLetter({ from, to, cc = [], subject, text, files = [], forwarded, messageId, inReplyTo = "", references = [], unixMs, boundary }) {
  const several = files.length > 0 || forwarded !== undefined;
  const mark = boundary ?? `=_${base64(crypto.getRandomValues(new Uint8Array(24))).replace(/[+/]/g, "_")}`;
  const header = `From: ${mailbox(from)}\r\n${addressList("To", to)}${addressList("Cc", cc)}${unstructured("Subject", subject)}`
    + `Date: ${dateOf(unixMs)}\r\nMessage-ID: ${messageId}\r\n`
    + (inReplyTo === "" ? "" : `In-Reply-To: ${inReplyTo}\r\n`)
    + (references.length === 0 ? "" : `References: ${references.join("\r\n ")}\r\n`)
    + "MIME-Version: 1.0\r\n";
  if (!several) {
    return join([{ text: utf8.encode(header) }, ...textPart(text)]);
  }
  // RFC 2045, 6.4: what holds a part of 8 bits has 8 bits itself.
  const is8bit = forwarded !== undefined && fitsWithin(forwarded) && !isAscii(forwarded);
  const encoding = is8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "";
  const parts = [{ text: utf8.encode(`${header}Content-Type: multipart/mixed;\r\n boundary="${mark}"\r\n${encoding}\r\n`) }];
  const bodies = [textPart(text), ...(forwarded === undefined ? [] : [messagePart(forwarded)]), ...files.map(filePart)];
  for (const body of bodies) {
    parts.push({ text: utf8.encode(`--${mark}\r\n`) }, ...body, { text: utf8.encode("\r\n") });
  }
  parts.push({ text: utf8.encode(`--${mark}--\r\n`) });
  return join(parts);
}

/* Texts side by side become one. */
function join(parts) {
  const joined = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (part.text !== undefined && last?.text !== undefined) {
      last.text = concat(last.text, part.text);
    } else {
      joined.push({ ...part });
    }
  }
  return joined;
}

export const letterBytes = (parts) => parts.reduce((bytes, part) => bytes + partBytes(part), 0);
