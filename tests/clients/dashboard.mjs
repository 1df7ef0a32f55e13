// A dashboard's connection, driven by a test: options come as JSON in the first argument, everything that happens goes
// out as one JSON line, orders come in as JSON lines. Nothing here repairs anything: it shows what a stock client sees.
//
// Options: url, token (absent: no auth at all), auth (instead of token: the whole auth object), transports,
// client ("4.8", "4.6", "4.5", "4.0", "3.1"), path, extra (further client options).
// Orders: {"do":"connect"|"disconnect"|"drop"|"emit"|"token"|"quit", ...}; "drop" closes the transport under the
// client, which then reconnects by itself.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const options = JSON.parse(process.argv[2]);
const { io } = require((options.client ?? "4.8") === "4.8" ? "socket.io-client" : `socket.io-client-${options.client}`);

const say = (happened) => process.stdout.write(JSON.stringify({ at: Date.now(), ...happened }) + "\n");

let token = options.token;
const socket = io(options.url, {
  path: options.path ?? "/socket.io",
  ...(options.transports ? { transports: options.transports } : {}),
  ...(options.auth !== undefined
    ? { auth: options.auth }
    : token !== undefined
      ? { auth: (send) => send({ token }) }
      : {}),
  forceNew: true,
  reconnectionDelay: 100,
  reconnectionDelayMax: 300,
  ...options.extra,
});

socket.on("connect", () => {
  const engine = socket.io.engine;
  say({ event: "connect", id: socket.id, transport: engine.transport.name, recovered: socket.recovered ?? false });
  engine.once("upgrade", (transport) => say({ event: "upgrade", transport: transport.name }));
});
socket.on("connect_error", (error) => say({ event: "connect_error", message: error.message }));
socket.on("disconnect", (reason) => say({ event: "disconnect", reason, active: socket.active }));
socket.io.on("reconnect", (attempt) => say({ event: "reconnect", attempt }));
// Every event with all its arguments, so that a surplus one shows.
socket.onAny((name, ...args) => say({ event: name, args }));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const order = JSON.parse(line);
    switch (order.do) {
      case "connect":
        socket.connect();
        break;
      case "disconnect":
        socket.disconnect();
        break;
      case "drop":
        socket.io.engine.close();
        break;
      case "emit":
        socket.emit(order.name, ...order.args.map((arg) => (arg?.binary ? Buffer.from(arg.binary) : arg)));
        break;
      case "token":
        token = order.token;
        break;
      case "quit":
        socket.disconnect();
        // A polling client says goodbye with a request, which needs a moment to leave.
        setTimeout(() => process.exit(0), 200);
        return;
    }
    say({ event: "done", order: order.do });
  })
  .on("close", () => process.exit(0));
say({ event: "started" });
