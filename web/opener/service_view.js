// The opener's view as the key service's page /online loads it; web/build.mjs puts service_words.js in the place of
// words.js.
export { messageView } from './view.js';
