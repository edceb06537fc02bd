// A server of @modelcontextprotocol/server 2.x, for our client: server_v2.mjs stdio | http PORT. Both eras, one factory.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const load = createRequire(join(process.env.GPUMCP_TEST_NODE, 'package.json'));
const { McpServer, acceptedContent, createMcpHandler, fromJsonSchema, inputRequired } =
  load('@modelcontextprotocol/server');
const { serveStdio } = load('@modelcontextprotocol/server/stdio');
const { toNodeHandler } = load('@modelcontextprotocol/node');

const number = { type: 'number' };
const object = (properties, required = Object.keys(properties)) =>
  fromJsonSchema({ type: 'object', properties, required });
const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
const form = {
  type: 'object',
  properties: { name: { type: 'string' }, city: { type: 'string', default: 'Bern' } },
  required: ['name'],
};

function makeServer() {
  const server = new McpServer({ name: 'station', version: '1' });
  server.registerTool('add', { description: 'Add.', inputSchema: object({ a: number, b: number }) }, ({ a, b }) =>
    text(a + b),
  );
  server.registerTool('fail', { description: 'Fail.', inputSchema: object({}) }, () => {
    throw new Error('it cannot be done');
  });
  server.registerTool('count', { description: 'Count.', inputSchema: object({ to: number }) }, async ({ to }, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (let i = 1; i <= to; ++i)
      await ctx.mcpReq.notify({
        method: 'notifications/progress',
        params: { progressToken, progress: i, total: to, message: `at ${i}` },
      });
    return text(to);
  });
  server.registerTool('ask', { description: 'Ask.', inputSchema: object({}) }, (_, ctx) => {
    const who = acceptedContent(ctx.mcpReq.inputResponses, 'who');
    if (who) return text(`Hello, ${who.name} of ${who.city}!`);
    return inputRequired({
      inputRequests: { who: inputRequired.elicit({ message: 'Who are you?', requestedSchema: form }) },
    });
  });
  server.registerResource('note', 'note://hello', { description: 'A note.' }, (uri) => ({
    contents: [{ uri: uri.href, text: 'hello there' }],
  }));
  server.registerPrompt('greet', { description: 'Greet.', argsSchema: object({ name: { type: 'string' } }) }, ({ name }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Greet ${name}.` } }],
  }));
  return server;
}

const [kind, port] = process.argv.slice(2);
if (kind === 'stdio') serveStdio(makeServer);
else createServer(toNodeHandler(createMcpHandler(makeServer))).listen(Number(port), '127.0.0.1');
