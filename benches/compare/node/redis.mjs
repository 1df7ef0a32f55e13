// Node's http, JSON.parse, and one Redis pipeline per batch: the events go to a list per session, and the answer goes
// out when Redis has answered, which it does after its sync (appendfsync always). Argument: Redis' port.
import { createServer } from "node:http";
import { Redis } from "ioredis";

const redis = new Redis(Number(process.argv[2]), "127.0.0.1");
const answer = JSON.stringify({ success: true, data: { accepted: true } });
const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(answer) };

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", async () => {
    const { sessionId, events } = JSON.parse(Buffer.concat(chunks).toString());
    const pipeline = redis.pipeline();
    for (const event of events) pipeline.rpush(`run:${sessionId}`, JSON.stringify(event));
    const results = await pipeline.exec();
    const failed = results.some(([error]) => error);
    response.writeHead(failed ? 500 : 200, headers).end(answer);
  });
});
server.keepAliveTimeout = 75_000;
redis.once("ready", () =>
  server.listen(0, "127.0.0.1", () => console.log(`listens on 127.0.0.1:${server.address().port}`)),
);
