import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { expiryStamp, knowsUtc, offerCommand, offerLine, offerOf } from '../src/host/offer-keys.ts';
import {
  decodeOffer,
  encodeOffer,
  findOffer,
  isOpen,
  listOffers,
  type Offer,
  offeredSnapshots,
  whyNotOpen,
  writeOffer,
} from '../src/store/offer.ts';
import { candidateOf, decideRetention } from '../src/store/retention.ts';
import { offerFilter } from '../src/wire/fetch-rsync.ts';
import { codeDigest } from '../src/wire/offer-code.ts';
import { jsonName } from '../src/wire/text.ts';

const OFFER: Offer = {
  version: 1,
  id: '0123abcd',
  snapshot: '2026-01-02T03-04-05Z',
  paths: ['home/x'],
  created: '2026-01-03T00:00:00.000Z',
  expires: '2026-01-04T00:00:00.000Z',
  code_sha256: codeDigest('one'),
  state: 'open',
  ended: null,
  key: null,
};
const DURING = new Date('2026-01-03T12:00:00Z');
const AFTER = new Date('2026-01-04T00:00:00Z');

describe('decodeOffer()', () => {
  it('takes what encodeOffer() writes, with paths of any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 30 })), all => {
        const paths = all.map(bytes => jsonName(Buffer.from(bytes.map(byte => byte || 1))));
        const offer = { ...OFFER, paths };
        assert.deepEqual(decodeOffer(encodeOffer(offer)), { value: offer });
      }),
    );
  });

  it('refuses everything else', () => {
    for (const more of [
      { version: 2 },
      { id: '../../x' },
      { snapshot: '..' },
      { paths: [''] },
      { expires: 'tomorrow' },
      { code_sha256: 'x' },
      { state: 'expired' },
      { state: 'used' },
      { ended: OFFER.created },
      { key: { fingerprint: 'x' } },
      { key: { fingerprint: 'x', authorized_keys: 'relative' } },
      { code: 'the code itself' },
    ])
      assert.ok('reason' in decodeOffer(JSON.stringify({ ...OFFER, ...more })), JSON.stringify(more));
    fc.assert(fc.property(fc.json(), text => void decodeOffer(text)));
  });
});

describe('isOpen()', () => {
  it('ends with the offer, and with its time', () => {
    assert.ok(isOpen(OFFER, DURING));
    assert.ok(!isOpen(OFFER, AFTER));
    assert.equal(whyNotOpen(OFFER, DURING), undefined);
    assert.equal(whyNotOpen(OFFER, AFTER), 'it expired at 2026-01-04T00:00:00.000Z');
    const used: Offer = { ...OFFER, state: 'used', ended: OFFER.created };
    assert.equal(whyNotOpen(used, DURING), `it was used at ${OFFER.created}`);
  });
});

describe('the offers of a client', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dialback offers-'));
  after(() => rmSync(folder, { recursive: true }));
  const client = { name: 'acorn', folder };

  it('are found by the digest of their code; a damaged file is none', () => {
    assert.deepEqual(listOffers(client), []);
    writeOffer(client, OFFER);
    writeOffer(client, {
      ...OFFER,
      id: 'ffffffff',
      code_sha256: codeDigest('two'),
      created: '2026-01-03T01:00:00.000Z',
    });
    writeFileSync(join(folder, 'offers/00000000.json'), '{');
    writeFileSync(join(folder, 'offers/11111111.json'), encodeOffer(OFFER)); // another name than its own
    mkdirSync(join(folder, 'offers/22222222.json'));
    assert.deepEqual(
      listOffers(client).map(each => each.id),
      ['0123abcd', 'ffffffff'],
    );
    assert.equal(findOffer(listOffers(client), codeDigest('two'))?.id, 'ffffffff');
    assert.equal(findOffer(listOffers(client), codeDigest('three')), undefined);
  });

  it('keep their snapshot while they are open', () => {
    const offers = offeredSnapshots(client, DURING);
    assert.deepEqual([...offers], [[OFFER.snapshot, OFFER.expires]]);
    assert.deepEqual([...offeredSnapshots(client, AFTER)], []);
    const policy = {
      last: 1,
      hourly: 0,
      daily: 0,
      weekly: 0,
      monthly: 0,
      yearly: 0,
      minKeep: 0,
      minAgeMs: 0,
      givesRoom: true,
      zone: 'UTC',
    };
    const record = { state: 'full' as const, flags: [] };
    const all = [
      { name: OFFER.snapshot, record, pinned: undefined, offered: offers.get(OFFER.snapshot) },
      { name: '2026-01-03T03-04-05Z', record, pinned: undefined },
    ].map(candidateOf);
    const [during] = decideRetention(all, policy, DURING);
    assert.deepEqual(during, {
      name: OFFER.snapshot,
      keep: true,
      reasons: [`offered until ${OFFER.expires}`],
      mayGoAtLowWater: false,
    });
    const [later] = decideRetention(all, policy, AFTER);
    assert.equal(later?.keep, false);
    assert.equal(later?.mayGoAtLowWater, true);
  });
});

describe('offerLine()', () => {
  const command = {
    executable: '/usr/local/bin/dialback',
    id: '0123abcd',
    name: 'acorn',
    config: '/home/v/host.toml',
  };

  it('binds a key to one offer, until it expires', () => {
    const line = offerLine(command, '20260104000000Z', { type: 'ssh-ed25519', blob: 'AAAA', comment: 'x' });
    assert.equal(
      line,
      `restrict,expiry-time="20260104000000Z",command="'/usr/local/bin/dialback' grab --offer 0123abcd --client acorn --config '/home/v/host.toml'" ssh-ed25519 AAAA dialback-offer-0123abcd`,
    );
    assert.equal(offerOf(line), '0123abcd');
    assert.match(offerCommand(command), / --offer 0123abcd /);
  });

  it('is told from every other line', () => {
    for (const line of [
      '',
      'ssh-ed25519 AAAA',
      `restrict,command="'/x' grab --client a --config '/y'" ssh-ed25519 AAAA`,
      '# grab --offer 0123abcd --client a',
    ])
      assert.equal(offerOf(line), undefined, line);
  });

  it('has its time as sshd reads it', () => {
    assert.equal(expiryStamp(AFTER, true), '20260104000000Z');
    assert.match(expiryStamp(AFTER, false), /^2026010[345]\d{6}$/);
    assert.deepEqual(['8.4p1', '9.0p1', '9.1p1', '9.2p1', '10.0p2', 'unknown'].map(knowsUtc), [
      false,
      false,
      true,
      true,
      true,
      false,
    ]);
  });
});

describe('offerFilter()', () => {
  it('shows the offered paths and the folders above them, and nothing else', () => {
    assert.equal(
      offerFilter('/store/tree', ['home/x', 'etc/a[b']),
      [
        '- /store/tree/**',
        '+ /etc/',
        '+ /home/',
        '+ /home/x',
        '+ /home/x/**',
        '+ /etc/a\\[b',
        '+ /etc/a\\[b/**',
        '- /**',
        '',
      ].join('\n'),
    );
    assert.equal(offerFilter('/store/tree', []), '- /store/tree/**\n');
  });

  it('writes one rule a line, whatever the names are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 5 }),
        names => {
          for (const line of offerFilter(
            '/t',
            names.map(name => name.replaceAll('/', 'x')),
          )
            .split('\n')
            .slice(0, -1))
            assert.match(line, /^[-+] \//);
        },
      ),
    );
  });
});
