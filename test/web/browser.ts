// Opens each page of `dialback web` in Chromium: light and dark, wide and as narrow as a phone. Each must have no serious finding of
// axe, fit its window, and run no script of a hostile name. `make test-web` runs it. It keeps the screenshots and prints their folder,
// so that a person can look at them. The last line is "N passed, N failed".
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import puppeteer, { type Browser, type Page } from 'puppeteer-core';
import { addressOf } from '../../src/web/pages/address.ts';
import { HOSTILE_FOLDER, HOSTILE_NAMES } from '../support/web-store.ts';
import { Served } from './served.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SERIOUS = new Set(['serious', 'critical']);

const WINDOWS = { wide: { width: 1280, height: 900 }, phone: { width: 360, height: 740 } } as const;
const COLORS = ['light', 'dark'] as const;

/** The pages, by the names of their screenshots. */
function pagesOf(snapshots: readonly string[]): Record<string, string> {
  const newest = snapshots.at(-1) ?? '';
  const previous = snapshots.at(-2) ?? '';
  const address = (...given: Parameters<typeof addressOf>): string => addressOf(...given) ?? '';
  const first = HOSTILE_NAMES[0] ?? Buffer.alloc(0);
  return {
    overview: '/',
    client: '/client/oak',
    'client-with-failures': '/client/elm',
    'client-without-snapshots': '/client/ash',
    top: address('browse', ['oak', newest]),
    'hostile-names': address('browse', ['oak', newest, HOSTILE_FOLDER]),
    'hostile-file': address('browse', [
      'oak',
      newest,
      Buffer.concat([HOSTILE_FOLDER, Buffer.from('/'), first]),
    ]),
    'many-entries': address('browse', ['oak', newest, Buffer.from('many')], { after: '0199' }),
    'empty-folder': address('browse', ['oak', newest, Buffer.from('empty')]),
    attributes: address('browse', ['oak', newest, Buffer.from('etc/shadow')]),
    link: address('browse', ['oak', newest, Buffer.from('etc/link')]),
    versions: address('versions', ['oak', Buffer.from('etc/changing')]),
    search: address('search', ['oak'], { q: 'pwned' }),
    differences: address('diff', ['oak', previous, newest]),
    'no-such-page': address('browse', ['oak', newest, Buffer.from('no such "><b>folder')]),
  };
}

let passed = 0;
const failures: string[] = [];

async function check(name: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
    passed += 1;
    console.log(`✔ ${name}`);
  } catch (error) {
    failures.push(name);
    console.log(
      `✖ ${name}\n  ${error instanceof Error ? error.message.replaceAll('\n', '\n  ') : String(error)}`,
    );
  }
}

async function axeFindings(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const found = (await page.evaluate('axe.run(document)')) as {
    passes: unknown[];
    violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[];
  };
  assert.ok(found.passes.length > 10, 'axe has looked at the page');
  return found.violations
    .filter(each => SERIOUS.has(each.impact))
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes
          .map(each => `${each.html} ${each.failureSummary}`)
          .slice(0, 3)
          .join('; ')}`,
    );
}

/** What a page must not have, whatever the names on it are. */
async function requireInert(page: Page): Promise<void> {
  const found = (await page.evaluate(`({
    pwned: window.pwned,
    scripts: document.querySelectorAll('script, iframe, object, embed, style, img, base').length,
    handlers: [...document.querySelectorAll('*')].flatMap(each => each.getAttributeNames()).filter(each => /^on|^style$/i.test(each)),
    addresses: [...document.querySelectorAll('[href], [src], [action]')].map(each => each.href || each.src || each.action)
      .filter(each => typeof each === 'string' && !each.startsWith(location.origin + '/')),
    hidden: /[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u200b-\\u200f\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText),
  })`)) as Record<string, unknown>;
  assert.deepEqual(found, { scripts: 0, handlers: [], addresses: [], hidden: false });
}

async function look(page: Page, address: string, path: string): Promise<void> {
  await page.goto(address, { waitUntil: 'load' });
  await page.screenshot({ path: path as `${string}.png`, fullPage: true });
  const { inner, full } = (await page.evaluate(
    '({ inner: window.innerWidth, full: document.documentElement.scrollWidth })',
  )) as { inner: number; full: number };
  assert.ok(full <= inner, `the page is ${full} pixels wide, and the window ${inner}`);
  assert.equal((await textOf(page, 'h1')) === 'Log in', address.endsWith('/login'));
  await requireInert(page);
  assert.deepEqual(await axeFindings(page), []);
}

/** Opens a page of one look. */
async function openPage(
  browser: Browser,
  kind: keyof typeof WINDOWS,
  color: (typeof COLORS)[number],
): Promise<Page> {
  const page = await browser.newPage();
  await page.setViewport(WINDOWS[kind]);
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: color }]);
  return page;
}

const KINDS = ['wide', 'phone'] as const;

async function lookAtAll(browser: Browser, addresses: Record<string, string>): Promise<void> {
  for (const kind of KINDS)
    for (const color of COLORS) {
      const page = await openPage(browser, kind, color);
      // Names must be inert without the policy too.
      await page.setBypassCSP(true);
      for (const [name, address] of Object.entries(addresses))
        await check(`${name}, ${color}, ${kind}`, () =>
          look(page, address, `${shots}/${name}-${color}-${kind}.png`),
        );
      await page.close();
    }
}

/** A page asks only its own server, and its policy stops no part of it. */
async function checkRequests(
  browser: Browser,
  origin: string,
  addresses: Record<string, string>,
): Promise<void> {
  await check('pages ask only their own server, and the policy stops no part of them', async () => {
    const page = await browser.newPage();
    const found: string[] = [];
    page.on('request', request => {
      if (!request.url().startsWith(`${origin}/`)) found.push(`request ${request.url()}`);
    });
    page.on('console', message => {
      if (!/favicon|404/.test(message.text())) found.push(`console ${message.text()}`);
    });
    page.on('dialog', dialog => {
      found.push(`dialog ${dialog.message()}`);
      void dialog.dismiss();
    });
    for (const address of Object.values(addresses)) await page.goto(address);
    await page.close();
    assert.deepEqual(found, []);
  });
}

const textOf = (page: Page, selector: string): Promise<string> =>
  page.$eval(selector, each => each.textContent ?? '');

async function follow(page: Page, selector: string): Promise<void> {
  await Promise.all([page.waitForNavigation(), page.click(selector)]);
}

/** Goes from the overview to a file, by links and forms, in a browser that runs no script. */
async function checkWithoutScripts(browser: Browser, origin: string): Promise<void> {
  await check('links and forms work without JavaScript', async () => {
    const page = await browser.newPage();
    await page.setJavaScriptEnabled(false);
    await page.goto(`${origin}/`);
    await page.type('#q', 'oak');
    await follow(page, 'form[action="/"] button');
    assert.equal(await textOf(page, 'caption'), '1 client');
    await follow(page, 'tbody a');
    assert.equal(await textOf(page, 'h1'), 'oak');
    await page.type('#q', 'shad');
    await follow(page, 'form[action="/search/oak"] button');
    await follow(page, 'tbody th a');
    assert.equal(await textOf(page, 'h1'), 'shadow');
    await follow(page, 'nav li:nth-child(3) a');
    await follow(page, 'tbody a[href$="/many"]');
    await follow(page, 'nav.pages a[href*="after="]');
    assert.equal(await textOf(page, 'tbody th'), '0200 ');
    await follow(page, 'nav.pages a[href*="before="]');
    assert.equal(await textOf(page, 'tbody th'), '0000 ');
    await follow(page, 'nav li:nth-child(2) a');
    await follow(page, 'form[action="/diff/oak"] button');
    assert.match(await textOf(page, 'table'), /etc\/changing/);
    await page.close();
  });
}

/** Whether the element that has the focus shows it. */
const FOCUS = `(() => {
  const each = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(each);
  const { left, top, width, height } = each.getBoundingClientRect();
  return { tag: each.tagName, id: each.id, text: each.textContent.trim().slice(0, 40), isShown: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2,
    isInside: left + width > 0 && left >= 0 && width > 0 && height > 0 };
})()`;

interface Focus {
  tag: string;
  id: string;
  text: string;
  isShown: boolean;
  isInside: boolean;
}

async function checkKeyboard(browser: Browser, origin: string): Promise<void> {
  await check('the keyboard reaches everything, and shows where it is', async () => {
    const page = await browser.newPage();
    await page.goto(`${origin}/client/oak`);
    const expected = (await page.$$('a[href], button, input, select, [tabindex="0"]')).length;
    const reached: Focus[] = [];
    for (let at = 0; at < expected; at += 1) {
      await page.keyboard.press('Tab');
      reached.push((await page.evaluate(FOCUS)) as Focus);
    }
    assert.match(reached[0]?.text ?? '', /^Skip/);
    assert.deepEqual(
      reached.filter(each => !each.isShown || !each.isInside || each.tag === 'BODY'),
      [],
    );
    await page.goto(`${origin}/client/oak`);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    assert.equal(((await page.evaluate(FOCUS)) as Focus).id, 'content');
    await page.close();
  });
}

/** The report must need no other file, with its own policy in force. */
async function checkReport(browser: Browser, file: string): Promise<void> {
  for (const kind of KINDS)
    for (const color of COLORS) {
      const page = await openPage(browser, kind, color);
      const requests: string[] = [];
      page.on('request', request => requests.push(request.url()));
      await check(`report, ${color}, ${kind}`, async () => {
        await page.goto(`file://${encodeURI(file)}`);
        await page.screenshot({ path: `${shots}/report-${color}-${kind}.png`, fullPage: true });
        assert.equal(requests.length, 1, requests.join(' '));
        const back = await page.evaluate('getComputedStyle(document.body).backgroundColor');
        assert.equal(
          back,
          color === 'dark' ? 'rgb(18, 22, 29)' : 'rgb(255, 255, 255)',
          'its style sheet is used',
        );
        assert.equal(await page.evaluate('window.pwned'), undefined);
        assert.deepEqual(await axeFindings(page), []);
      });
      await page.close();
    }
}

/** Logs in by the form, as a person does, and keeps the session for the other pages. */
async function logIn(browser: Browser, { origin, running }: Served): Promise<void> {
  await check('the printed token opens a session, without JavaScript', async () => {
    const page = await browser.newPage();
    await page.setJavaScriptEnabled(false);
    await page.goto(`${origin}/`);
    assert.equal(await textOf(page, 'h1'), 'Log in');
    await page.type('#token', running.token);
    await follow(page, 'form[action="/login"] button');
    assert.match(await textOf(page, 'h1'), /all clients/);
    await page.close();
  });
}

async function logOut(browser: Browser, origin: string): Promise<void> {
  await check('the button ends the session', async () => {
    const page = await browser.newPage();
    await page.goto(`${origin}/client/oak`);
    await follow(page, 'form[action="/logout"] button');
    await page.goto(`${origin}/client/oak`);
    assert.equal(await textOf(page, 'h1'), 'Log in');
    await page.close();
  });
}

const shots = mkdtempSync(`${tmpdir()}/dialback-screenshots-`);
const served = await Served.start();
// Chromium's own sandbox refuses root, and the pages come from this machine.
const args = ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'];
const browser = await puppeteer.launch({ executablePath: '/usr/bin/chromium', args });
try {
  const { origin, site } = served;
  await lookAtAll(browser, { login: `${origin}/login` });
  await logIn(browser, served);
  const addresses = Object.fromEntries(
    Object.entries(pagesOf(served.snapshots)).map(([name, address]) => [name, origin + address]),
  );
  await lookAtAll(browser, addresses);
  await checkRequests(browser, origin, addresses);
  await checkWithoutScripts(browser, origin);
  await checkKeyboard(browser, origin);
  const file = `${site.base}/home/report.html`;
  await check('report writes its file', async () => {
    const { status, stderr } = await site.run(['report', '-o', file, '--config', site.config]);
    assert.deepEqual([status, stderr], [0, '']);
  });
  await checkReport(browser, file);
  await logOut(browser, origin);
} finally {
  await browser.close();
  await served.stop();
}
console.log(`screenshots: ${shots}`);
for (const name of failures) console.log(`failed: ${name}`);
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;
