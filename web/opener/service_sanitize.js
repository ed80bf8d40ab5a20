// sanitize.js for the key service's own page, where size is no matter: what it has built is gone through once more by a
// library that many look at. In place, so that nothing is parsed a second time.
import DOMPurify from 'dompurify';
import { sanitize as build } from './sanitize.js';

export { PICTURE, lead, safeLink } from './sanitize.js';

// Attributes of looks, which its own list lacks. SAFE_FOR_XML is about text that is parsed again.
const CONFIG = {
    IN_PLACE: true,
    SAFE_FOR_XML: false,
    TRUSTED_TYPES_POLICY: null, // it makes no markup of text
    ADD_ATTR: ['border', 'face', 'frame', 'hspace', 'nowrap', 'rel', 'rules', 'scope', 'size', 'target', 'type', 'value', 'vspace', 'width'],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|tel:|blob:|data:image\/(?:png|jpe?g|gif|webp|avif|bmp);|[^:]*$)/i,
};

export const sanitize = (html, resolveCid) => {
    const built = build(html, resolveCid);
    DOMPurify.sanitize(built.body, CONFIG);
    return built;
};
