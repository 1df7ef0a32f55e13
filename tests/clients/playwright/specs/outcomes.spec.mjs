// Every way a test can end.
import { expect, test } from "@playwright/test";

test("passes", async () => {});

test("fails every time", async () => {
  expect({ total: 3, items: ["\u001b", "ä", "😀"] }).toEqual({ total: 4, items: [] });
});

test("is flaky: fails once, then passes", async ({}, { retry }) => {
  expect(retry, "the first attempt must not pass").toBeGreaterThan(0);
});

test("is flaky: times out once, then passes", async ({}, { retry }) => {
  if (retry === 0) await new Promise(() => {});
});

test("times out every time", async () => {
  await new Promise((done) => setTimeout(done, 60_000));
});

test("fails as expected", async () => {
  test.fail();
  throw new Error("this is what should happen");
});

test("throws something that is no error", async () => {
  throw "only a string";
});

test("throws a very long message", async () => {
  throw new Error("x€😀".repeat(10_000));
});

test.skip("is skipped", async () => {});

test("skips itself", async () => {
  test.skip(true, "not today");
});

test.fixme("is to be fixed", async () => {});

test("loses its worker", async ({}, { retry }) => {
  if (retry === 0) process.exit(7);
});

test("fails with a page's context", async ({}, testInfo) => {
  testInfo.annotations.push({
    type: "agnox:runtimeContext",
    description: JSON.stringify({
      failureUrl: "https://user:secret@shop.example.com/cart?token=abc&item=7",
      pageTitle: "Cart 🛒 ".repeat(60),
      consoleErrors: Array.from({ length: 25 }, (_, n) => `error ${n} `.repeat(80)),
      networkErrors: [
        { url: "https://api.example.com/x?api_key=1", status: 503, method: "GET", resourceType: "fetch" },
      ],
      domSnapshot: "<main>é</main>".repeat(1_000),
      viewportSize: { width: 1280, height: 720.5 },
    }),
  });
  expect(true).toBe(false);
});

test.describe.serial("in a row", () => {
  test("the first passes", async () => {});
  test("the second fails", async () => expect(1).toBe(2));
  test("the third is never run", async () => {});
});

test.describe("with a broken hook", () => {
  test.beforeAll(async () => {
    throw new Error("the hook broke");
  });
  test("cannot start", async () => {});
});

test.describe("a \u001b[1mtitle\u001b[0m › with separators\nand a second line 👩‍👩‍👧‍👦", () => {
  test(`of great length ${"ñ".repeat(1_200)}`, async () => {});
});
