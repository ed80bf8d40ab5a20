import { importAesGcm } from './cobblestone.js';
import { start } from './main.js';

start({ suite: 1, keyBytes: 32, importAead: importAesGcm });
