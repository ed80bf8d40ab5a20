// Passkeys, between the browser's calls and the service's: bytes there, base64url here.

export const passkeysPossible = () => typeof PublicKeyCredential === "function";

function bytes(text) {
  const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function base64url(buffer) {
  let binary = "";
  for (const byte of new Uint8Array(buffer ?? new ArrayBuffer(0))) {
    binary += String.fromCharCode(byte);
  }
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** Lets the person pick one of this service's passkeys: no address is needed. */
export async function askForPasskey({ challenge, rp }) {
  const { rawId, response } = await navigator.credentials.get({
    publicKey: { challenge: bytes(challenge), rpId: rp, userVerification: "required", timeout: 240000 },
  });
  return {
    id: base64url(rawId),
    client: base64url(response.clientDataJSON),
    authenticator: base64url(response.authenticatorData),
    signature: base64url(response.signature),
    handle: base64url(response.userHandle),
  };
}

const ALGORITHMS = [-7, -8, -257]; // ES256, EdDSA, RS256

/** Makes a passkey; `known` are those of the account, which the device is not to make again. */
export async function makePasskey({ challenge, rp, handle }, address, known, brand) {
  const { response } = await navigator.credentials.create({
    publicKey: {
      challenge: bytes(challenge),
      rp: { id: rp, name: brand },
      user: { id: bytes(handle), name: address, displayName: address },
      pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: "public-key", alg })),
      excludeCredentials: known.map((id) => ({ type: "public-key", id: bytes(id) })),
      authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
      attestation: "none",
      timeout: 240000,
    },
  });
  return { client: base64url(response.clientDataJSON), authenticator: base64url(response.getAuthenticatorData()) };
}
