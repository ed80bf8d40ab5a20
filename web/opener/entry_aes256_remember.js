// web/build.mjs sets REMEMBER for entries of this name: the only difference.
import './entry_aes256.js';
