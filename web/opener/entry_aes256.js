import { importAesGcm } from './cobblestone.js';
import { start } from './main.js';

start(1, 32, importAesGcm);
