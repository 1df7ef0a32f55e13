// Stock clients that do nothing but `output += log`: no offset is looked at, nothing is fetched, nothing is repaired.
// Several in one program; each says what it has when it is asked.
//
// Options: url, path, viewers: [{client ("4.8", "4.6", "4.5", "4.0", "3.1"), transports, token, extra}].
// Orders: {"do":"report"}, {"do":"lengths"}, and for one of them: {"do":"connect"|"disconnect"|"drop"|"token"|"emit",
// "viewer": n, ...}; "drop" closes the transport under the client, which then reconnects by itself.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const options = JSON.parse(process.argv[2]);
const say = (happened) => process.stdout.write(JSON.stringify(happened) + "\n");
const KNOWN = ["auth-success", "auth-error", "execution-log", "execution-updated"];

const viewers = options.viewers.map((wanted) => {
  const client = wanted.client ?? "4.8";
  const { io } = require(client === "4.8" ? "socket.io-client" : `socket.io-client-${client}`);
  const viewer = {
    token: wanted.token, outputs: {}, statuses: {}, unknown: [], reasons: [],
    connects: 0, recovered: 0, welcomes: 0, refusals: 0,
  };
  const socket = io(options.url, {
    path: options.path ?? "/socket.io",
    ...(wanted.transports ? { transports: wanted.transports } : {}),
    auth: (send) => send({ token: viewer.token, ...wanted.auth }),
    forceNew: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 150,
    timeout: 3000,
    ...wanted.extra,
  });
  viewer.socket = socket;
  socket.on("connect", () => {
    viewer.connects += 1;
    viewer.recovered += socket.recovered === true ? 1 : 0;
  });
  socket.on("disconnect", (reason) => viewer.reasons.push(reason));
  socket.on("auth-success", () => (viewer.welcomes += 1));
  socket.on("auth-error", () => (viewer.refusals += 1));
  socket.on("execution-log", ({ taskId, log }) => {
    viewer.outputs[taskId] = (viewer.outputs[taskId] ?? "") + log;
  });
  socket.on("execution-updated", ({ taskId, status }) => (viewer.statuses[taskId] = status));
  socket.onAny((name) => KNOWN.includes(name) || viewer.unknown.push(name));
  return viewer;
});

const shown = ({ socket, token, ...viewer }) => ({
  ...viewer,
  connected: socket.connected,
  transport: socket.io.engine?.transport?.name ?? "",
});
const lengths = (outputs) => Object.fromEntries(Object.entries(outputs).map(([task, text]) => [task, text.length]));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const order = JSON.parse(line);
    const viewer = viewers[order.viewer];
    switch (order.do) {
      case "report":
        say({ event: "report", viewers: viewers.map(shown) });
        return;
      case "lengths":
        say({ event: "lengths", viewers: viewers.map((one) => ({ ...shown(one), outputs: lengths(one.outputs) })) });
        return;
      case "connect":
        viewer.socket.connect();
        break;
      case "disconnect":
        viewer.socket.disconnect();
        break;
      case "drop":
        viewer.socket.io.engine.close();
        break;
      case "token":
        viewer.token = order.token;
        break;
    }
    say({ event: "done", order: order.do });
  })
  .on("close", () => process.exit(0));
say({ event: "started" });
