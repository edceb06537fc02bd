// What both drivers do with a connected client, and how they hear what to connect to: a JSON object on stdin with
// `mode` and either `command`, `args`, `env` or `url`. What was seen goes to stdout as JSON.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

export const load = createRequire(join(process.env.GPUMCP_TEST_NODE, 'package.json'));
export const target = JSON.parse(readFileSync(0, 'utf8'));

export async function run(client, protocolVersion) {
  const seen = { protocolVersion };
  seen.tools = (await client.listTools()).tools.map((tool) => tool.name);
  seen.call = await client.callTool({ name: 'get_embedding', arguments: { text: 'hello world' } });
  const read = await client.readResource({ uri: seen.call.structuredContent.uri });
  seen.npy = Buffer.from(read.contents[0].blob, 'base64').subarray(0, 6).toString('base64');
  seen.wrong = await client.callTool({ name: 'get_embedding', arguments: { text: 5 } });
  seen.unknown = await client.callTool({ name: 'frobnicate', arguments: {} }).then(
    (result) => JSON.stringify(result),
    (error) => String(error.message),
  );
  const texts = Array.from({ length: 16 }, (_, i) => `text number ${i}`);
  const results = await Promise.all(
    texts.map((text) => client.callTool({ name: 'get_embedding', arguments: { text } })),
  );
  seen.many = results.map((result) => result.structuredContent.text);
  await client.close();
  process.stdout.write(JSON.stringify(seen) + '\n');
}
