/**
 * A time server (RFC 5905) on 127.0.0.1. It counts from the time of the clock at its start, so a later change of the clock does not
 * affect it.
 */
import { createSocket } from 'node:dgram';

const NTP_PORT = 123;
/** From 1900, where NTP's time begins, to 1970. */
const ERA_SECONDS = 2_208_988_800;
const PACKET_BYTES = 48;
const FROM_SERVER = 0b00_100_100; // no leap second, version 4, mode 4: a server
const PRIMARY = 1;

const begunMs = Date.now() - performance.now();

/** Writes the time as seconds and their fraction in 2^-32 s. */
function writeTime(packet: Buffer, at: number): void {
  const ms = begunMs + performance.now();
  packet.writeUInt32BE(Math.floor(ms / 1000) + ERA_SECONDS, at);
  packet.writeUInt32BE(Math.floor(((ms % 1000) / 1000) * 2 ** 32), at + 4);
}

const socket = createSocket('udp4');
socket.on('message', (question, { address, port }) => {
  if (question.length < PACKET_BYTES) return;
  const answer = Buffer.alloc(PACKET_BYTES);
  answer.writeUInt8(FROM_SERVER, 0);
  answer.writeUInt8(PRIMARY, 1);
  answer.writeInt8(6, 2); // ask again after 2^6 s
  answer.writeInt8(-10, 3); // exact to 2^-10 s
  answer.write('LOCL', 12, 'latin1');
  writeTime(answer, 16); // when this clock was last set
  question.copy(answer, 24, 40, 48); // when the question was sent
  writeTime(answer, 32); // when it came
  writeTime(answer, 40); // when the answer leaves
  socket.send(answer, port, address);
});
socket.bind(NTP_PORT, '127.0.0.1');
