// The pages /, /signin and /register.
import { byId, session, show, wire, wireAccount } from "./service.js";

const first = ["signin", "register"].find((id) => byId(id) !== null);

/** Signed in: the forms go, who one is remains. */
function signedIn() {
  for (const id of ["signin", "register", "code"]) {
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
