// The soak of export.test.ts.
import './export.test.ts';
