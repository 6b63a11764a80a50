// The soak of login-shell.test.ts.
import './login-shell.test.ts';
