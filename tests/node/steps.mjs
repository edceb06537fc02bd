// What both drivers do with a connected client, and how they hear what to connect to: a JSON object on stdin with
// `mode` and either `command`, `args`, `env` or `url`. What was seen goes to stdout as JSON.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

export const load = createRequire(join(process.env.GPUMCP_TEST_NODE, 'package.json'));
export const target = JSON.parse(readFileSync(0, 'utf8'));

// What a user's client answers where the server asks.
export const elicited = () => ({ action: 'accept', content: { username: 'ada', email: 'ada@example.com' } });
export const sampled = () => ({ role: 'assistant', content: { type: 'text', text: 'Paris' }, model: 'm' });
export const capabilities = { elicitation: {}, sampling: {} };

export async function run(client, protocolVersion) {
  const seen = { protocolVersion };
  if (target.steps === 'everything') {
    await everything(client, seen);
    await client.close();
    process.stdout.write(JSON.stringify(seen) + '\n');
    return;
  }
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

// Against the fixtures of the conformance suite.
async function everything(client, seen) {
  const text = (result) => result.content[0].text;
  const call = (name, args = {}, options) =>
    client.callTool({ name, arguments: args }, ...(target.v1 && options ? [undefined, options] : options ? [options] : []));
  seen.tools = (await client.listTools()).tools.map((tool) => tool.name);
  seen.text = text(await call('test_simple_text'));
  seen.kinds = (await call('test_multiple_content_types')).content.map((block) => block.type);
  seen.error = await call('test_error_handling');
  seen.progress = [];
  await call('test_tool_with_progress', {}, { onprogress: ({ progress }) => seen.progress.push(progress) });
  seen.elicited = text(await call('test_elicitation', { message: 'Who?' }));
  seen.sampled = text(await call('test_sampling', { prompt: 'Capital?' }));
  seen.read = (await client.readResource({ uri: 'test://template/7/data' })).contents[0].text;
  const prompt = { name: 'test_prompt_with_arguments', arguments: { arg1: 'a', arg2: 'b' } };
  seen.prompt = (await client.getPrompt(prompt)).messages[0].content.text;
  const completion = await client.complete({
    ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' },
    argument: { name: 'arg1', value: 'par' },
  });
  seen.completed = completion.completion.values;
}
