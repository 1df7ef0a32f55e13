// A Socket.IO server that takes event requests and shows their log lines to everybody in one room: a frame for each
// line, or, with the argument "coalesced", what 30 ms have brought as one. WebSocket by `ws`, without compression.
import { createServer } from "node:http";
import { Server } from "socket.io";

const coalesced = process.argv[2] === "coalesced";
const answer = JSON.stringify({ success: true });
const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(answer) };
const offsets = new Map();
let pending = new Map();

const emit = (taskId, log) => {
  const offset = offsets.get(taskId) ?? 0;
  offsets.set(taskId, offset + log.length);
  io.to("org").emit("execution-log", { taskId, log, offset });
};

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { sessionId, events } = JSON.parse(Buffer.concat(chunks).toString());
    for (const { type, chunk } of events) {
      if (type !== "log") continue;
      if (coalesced) pending.set(sessionId, (pending.get(sessionId) ?? "") + chunk);
      else emit(sessionId, chunk);
    }
    response.writeHead(200, headers).end(answer);
  });
});
server.keepAliveTimeout = 75_000;
const io = new Server(server, { transports: ["websocket"], perMessageDeflate: false });
io.on("connection", (socket) => socket.join("org"));
if (coalesced) {
  setInterval(() => {
    const ready = pending;
    pending = new Map();
    for (const [taskId, log] of ready) emit(taskId, log);
  }, 30);
}
server.listen(0, "127.0.0.1", () => console.log(`listens on 127.0.0.1:${server.address().port}`));
