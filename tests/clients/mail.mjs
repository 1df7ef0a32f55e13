// A mail server: options port (0 takes a free one), secure ("none", "starttls", "implicit"), user and password (asked for if
// given), key and certificate (PEM), answer (below). Orders: {"do":"answer","how":...} with
//   take     takes the message over and says "mail"
//   busy     450 to the recipient; unknown: 550 to the recipient; refuse: 554 to the message
//   cut      breaks the connection within DATA
//   lose     takes the message over, says "mail", and breaks the connection instead of answering
//   silent   does not greet
// and {"do":"quit"}. Says "connected" for each connection, "refused" for each answer that is none of take and lose.
import { createInterface } from "node:readline";
import { simpleParser } from "mailparser";
import { SMTPServer } from "smtp-server";

const options = JSON.parse(process.argv[2]);
const say = (happened) => process.stdout.write(JSON.stringify(happened) + "\n");
let how = options.answer ?? "take";

const no = (code, text) => Object.assign(new Error(text), { responseCode: code });
const cutAll = () => server.connections.forEach((connection) => connection._socket.destroy());
const refuse = (done, code, text) => {
  say({ event: "refused", code });
  done(no(code, text));
};

const server = new SMTPServer({
  secure: options.secure === "implicit",
  disabledCommands: options.secure === "none" ? ["STARTTLS"] : [],
  authOptional: !options.user,
  key: options.key,
  cert: options.certificate,
  closeTimeout: 100,
  logger: false,
  onConnect(session, done) {
    say({ event: "connected" });
    if (how !== "silent") done();
  },
  onAuth(auth, session, done) {
    const fits = auth.username === options.user && auth.password === options.password;
    if (!fits) return refuse(done, 535, "no such user");
    done(null, { user: auth.username });
  },
  onRcptTo(address, session, done) {
    if (how === "busy") return refuse(done, 450, `${address.address} has to wait`);
    if (how === "unknown") return refuse(done, 550, `${address.address} is unknown`);
    done();
  },
  async onData(stream, session, done) {
    if (how === "cut") {
      say({ event: "refused", code: 0 });
      return cutAll();
    }
    const parts = [];
    for await (const part of stream) parts.push(part);
    if (how === "refuse") return refuse(done, 554, "no");
    const raw = Buffer.concat(parts).toString("utf8");
    const { subject, text, html, from, to, messageId } = await simpleParser(raw);
    say({
      event: "mail", raw, subject, text, html, messageId,
      from: from.value, to: to.value,
      envelope: [session.envelope.mailFrom.address, ...session.envelope.rcptTo.map(({ address }) => address)],
      isSecure: session.secure, user: session.user || null, hello: session.hostNameAppearsAs,
    });
    if (how === "lose") return cutAll();
    done(null, "taken");
  },
});
server.on("error", () => {});
server.listen(options.port ?? 0, "127.0.0.1", () => {
  say({ event: "started", port: server.server.address().port });
});
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const order = JSON.parse(line);
    if (order.do === "quit") process.exit(0);
    how = order.how;
    say({ event: "done" });
  })
  .on("close", () => process.exit(0));
