// What Node's basic-ftp does with a server under TLS:
// node basic_ftp_checks.js MODULE HOST PORT MODE VERSION AUTHORITY USER PASSWORD
"use strict"
const assert = require("node:assert")
const fs = require("node:fs")
const { TLSSocket } = require("node:tls")
const [module_, host, port, mode, version, authority, user, password] = process.argv.slice(2)
const { Client } = require(module_)

// basic-ftp 5.3 takes a handshake for done as soon as there is a cipher. Where it resumes a session, there is one before: an
// empty file then ends the connection in the midst of the handshake, or behind it without a close_notify, and a server that
// called that complete would call an upload complete that somebody cut off. All that is not empty waits by itself.
const getCipher = TLSSocket.prototype.getCipher
TLSSocket.prototype.getCipher = function () {
    return this.secureConnecting ? undefined : getCipher.call(this)
}

async function main() {
    const client = new Client(20000)
    try {
        const secure = mode === "implicit" ? "implicit" : true
        const secureOptions = { ca: fs.readFileSync(authority), servername: "localhost", maxVersion: version }
        await client.access({ host, port: Number(port), user, password, secure, secureOptions })
        assert.strictEqual(client.ftp.socket.getProtocol(), version)
        await client.ensureDir("/" + mode + "/deep")
        await client.uploadFrom("local.bin", "stored.bin")
        assert.strictEqual(await client.size("stored.bin"), fs.statSync("local.bin").size)
        await client.downloadTo("fetched.bin", "stored.bin")
        assert(fs.readFileSync("fetched.bin").equals(fs.readFileSync("local.bin")), "a round trip")
        await client.appendFrom("empty", "stored.bin")
        for (let number = 0; number < 20; number++) {
            await client.uploadFrom("empty", "empty")
        }
        const names = (await client.list()).map(entry => entry.name).sort()
        assert.deepStrictEqual(names, ["empty", "stored.bin"])
        await client.rename("empty", "renamed")
        await client.remove("renamed")
        for (let number = 0; number < 20; number++) {
            await client.uploadFrom("small", "small" + number)
        }
        assert.strictEqual((await client.list()).length, 21)
        await assert.rejects(client.downloadTo("nothing", "missing"), error => error.code === 550)
        await client.cd("/")
        await client.removeDir("/" + mode)
    } finally {
        client.close()
    }
}

main().catch(error => { console.error(error); process.exit(1) })
