// As entry_aes256_remember.js.
import './entry_aes192.js';
