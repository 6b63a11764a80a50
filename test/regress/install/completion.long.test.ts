// Goal: as install/completion, each shell with all words.
import './completion.test.ts';
