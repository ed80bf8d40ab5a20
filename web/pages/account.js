// The pages /, /signin, /register and /reset.
import { byId, session, show, wire } from "./service.js";
import { wireAccount } from "./signin.js";

const first = location.pathname === "/reset" ? "reset" : ["signin", "register"].find((id) => byId(id) !== null);

/** Signed in: the forms go, who one is remains. */
function signedIn() {
  for (const id of ["signin", "second", "register", "reset", "code"]) {
    if (byId(id) !== null) {
      byId(id).hidden = true;
    }
  }
  byId("signout").focus();
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
