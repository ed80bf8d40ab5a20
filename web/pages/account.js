// The pages /, /signin, /register and /reset.
import { byId, session, show, wire } from "./service.js";
import { wireAccount } from "./signin.js";

const first = location.pathname === "/reset" ? "reset" : ["signin", "register"].find((id) => byId(id) !== null);

/** Signed in: what is left to do here is one's own account. */
function signedIn() {
  location.replace("/account");
}

function signedOut() {
  if (first !== undefined) {
    show(first);
  }
}

wire(signedOut);
wireAccount(signedIn);
try {
  const { user } = await session();
  if (user !== null && first !== undefined) {
    signedIn();
  } else {
    signedOut();
  }
} catch {
  signedOut();
}
