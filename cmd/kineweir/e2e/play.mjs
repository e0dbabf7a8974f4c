// Opens a page in headless Chromium, calls its play() with the JSON of the
// second argument and prints what it returns.
import {chromium} from 'playwright-core'
import {mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

const [page, options] = process.argv.slice(2)
const profile = mkdtempSync(join(tmpdir(), 'kineweir-chromium-'))
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
})
try {
  const tab = await browser.newPage()
  tab.on('pageerror', e => console.error('page error:', e))
  await tab.goto(page)
  console.log(JSON.stringify(await tab.evaluate(o => play(o), JSON.parse(options))))
} finally {
  await browser.close()
  rmSync(profile, {recursive: true, force: true})
}
