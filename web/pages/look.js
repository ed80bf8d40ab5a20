// How the profile that a page is about presents itself.
import { byId, call } from "./service.js";

/** Whose envelope it is, where its profile says so: text, a picture and a link, whatever they hold. */
export async function showLook(profile) {
  let look;
  try {
    look = await call("GET", `/v1/profiles/${encodeURIComponent(profile)}/look`);
  } catch {
    return; // most profiles have none
  }
  byId("look-title").textContent = look.title;
  byId("look-text").textContent = look.text;
  const logo = byId("look-logo");
  logo.hidden = !/^data:image\/(png|jpeg);base64,/.test(look.logo);
  if (!logo.hidden) {
    logo.src = look.logo;
  }
  const link = byId("look-link");
  link.hidden = !look.link.startsWith("https://");
  if (!link.hidden) {
    link.href = look.link;
    link.textContent = new URL(look.link).hostname;
  }
  byId("look").hidden = look.title === "" && look.text === "" && logo.hidden && link.hidden;
}
