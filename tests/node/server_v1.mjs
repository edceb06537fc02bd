// A server of @modelcontextprotocol/sdk 1.x, for our client: server_v1.mjs stdio | http PORT | sse PORT.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const load = createRequire(join(process.env.GPUMCP_TEST_NODE, 'package.json'));
const { Server } = load('@modelcontextprotocol/sdk/server/index.js');
const { StdioServerTransport } = load('@modelcontextprotocol/sdk/server/stdio.js');
const { SSEServerTransport } = load('@modelcontextprotocol/sdk/server/sse.js');
const { StreamableHTTPServerTransport } = load('@modelcontextprotocol/sdk/server/streamableHttp.js');
const types = load('@modelcontextprotocol/sdk/types.js');

const number = { type: 'number' };
const form = {
  type: 'object',
  properties: { name: { type: 'string' }, city: { type: 'string', default: 'Bern' } },
  required: ['name'],
};
const tool = (name, properties = {}) => ({ name, description: `${name}.`, inputSchema: { type: 'object', properties } });
const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });

function makeServer() {
  const server = new Server(
    { name: 'station', version: '1' },
    { capabilities: { tools: {}, resources: {}, prompts: {} } },
  );
  server.setRequestHandler(types.ListToolsRequestSchema, () => ({
    tools: [tool('add', { a: number, b: number }), tool('fail'), tool('count', { to: number }), tool('ask')],
  }));
  server.setRequestHandler(types.CallToolRequestSchema, async ({ params }, extra) => {
    const given = params.arguments ?? {};
    if (params.name === 'add') return text(given.a + given.b);
    if (params.name === 'fail') return { ...text('it cannot be done'), isError: true };
    if (params.name === 'count') {
      for (let i = 1; i <= given.to; ++i)
        await extra.sendNotification({
          method: 'notifications/progress',
          params: { progressToken: params._meta.progressToken, progress: i, total: given.to, message: `at ${i}` },
        });
      return text(given.to);
    }
    const answer = await extra.sendRequest(
      { method: 'elicitation/create', params: { message: 'Who are you?', requestedSchema: form } },
      types.ElicitResultSchema,
    );
    return text(`Hello, ${answer.content.name} of ${answer.content.city}!`);
  });
  server.setRequestHandler(types.ListResourcesRequestSchema, () => ({
    resources: [{ uri: 'note://hello', name: 'note' }],
  }));
  server.setRequestHandler(types.ReadResourceRequestSchema, ({ params }) => ({
    contents: [{ uri: params.uri, text: 'hello there' }],
  }));
  server.setRequestHandler(types.ListPromptsRequestSchema, () => ({
    prompts: [{ name: 'greet', arguments: [{ name: 'name', required: true }] }],
  }));
  server.setRequestHandler(types.GetPromptRequestSchema, ({ params }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Greet ${params.arguments.name}.` } }],
  }));
  return server;
}

const [kind, port] = process.argv.slice(2);
const sessions = new Map();
if (kind === 'stdio') {
  await makeServer().connect(new StdioServerTransport());
} else {
  createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (kind === 'http') {
      let transport = sessions.get(request.headers['mcp-session-id']);
      if (!transport) {
        transport = new StreamableHTTPServerTransport({
          sessionIdGenerator: randomUUID,
          onsessioninitialized: (id) => sessions.set(id, transport),
        });
        await makeServer().connect(transport);
      }
      await transport.handleRequest(request, response);
    } else if (url.pathname === '/sse' && request.method === 'GET') {
      const transport = new SSEServerTransport('/messages', response);
      sessions.set(transport.sessionId, transport);
      await makeServer().connect(transport);
    } else if (url.pathname === '/messages') {
      await sessions.get(url.searchParams.get('sessionId')).handlePostMessage(request, response);
    } else {
      response.writeHead(404).end();
    }
  }).listen(Number(port), '127.0.0.1');
}
