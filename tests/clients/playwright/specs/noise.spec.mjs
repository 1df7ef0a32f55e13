// Output of every kind, from several workers at once.
import { test } from "@playwright/test";

for (let n = 0; n < 40; n++) {
  test(`prints in bursts ${n}`, async () => {
    for (let line = 0; line < 25; line++) {
      console.log(`\u001b[3${n % 8}mworker line ${n}.${line}\u001b[0m`);
      if (line % 5 === 0) await new Promise((done) => setTimeout(done, 2));
    }
  });
}

test("prints parts of lines", async () => {
  for (const part of ["one ", "line ", "in ", "four\n", "", "no newline at the end"]) {
    process.stdout.write(part);
    await new Promise((done) => setTimeout(done, 20));
  }
});

test("prints what is hard to encode", async () => {
  console.log("😀 👩‍👩‍👧‍👦 e\u0301 日本語 \u202ertl\u202c \u{10ffff} \u2028 \u0000 \u0007 \ufeff");
  console.log("\r\n\r\n\ttabs\r\n");
  console.log('{"json":"in \\"json\\""} </script> %00 \\u0000');
  process.stdout.write(Buffer.from([0x66, 0xff, 0xfe, 0xf0, 0x9f, 0x98]));
  process.stdout.write(Buffer.from([0x80, 0x0a]));
});

test("prints more than a chunk may hold", async () => {
  console.log("0123456789abcdef".repeat(10_000));
});

test("complains", async () => {
  console.error("something went wrong");
  console.warn("\u001b[33mand something else\u001b[39m");
  process.stderr.write("without a newline");
});

test("prints while it fails", async ({}, { retry }) => {
  console.log(`attempt ${retry}`);
  throw new Error(`attempt ${retry} failed`);
});
