// Drives a server with @modelcontextprotocol/client 2.x in the era that `mode` says: legacy, auto or a version to pin.
import { load, run, target } from './steps.mjs';

const { Client, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');
const { StdioClientTransport } = load('@modelcontextprotocol/client/stdio');

const mode = ['legacy', 'auto'].includes(target.mode) ? target.mode : { pin: target.mode };
const client = new Client({ name: 'gpumcp-tests', version: '1' }, { versionNegotiation: { mode } });
const transport = target.url
  ? new StreamableHTTPClientTransport(new URL(target.url))
  : new StdioClientTransport({ command: target.command, args: target.args, env: target.env });
await client.connect(transport);
const era = client.getProtocolEra();
if ((era === 'modern') !== (target.mode !== 'legacy')) throw new Error(`mode ${target.mode} gave the ${era} era`);
await run(client, client.getNegotiatedProtocolVersion());
