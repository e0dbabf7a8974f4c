// Makes overview.png of picture.html. Run it in this folder: node picture.mjs
import { chromium } from "playwright-core"
import { pathToFileURL } from "node:url"

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] })
const page = await browser.newPage({ viewport: { width: 1200, height: 560 }, deviceScaleFactor: 1 })
await page.goto(pathToFileURL("picture.html").href)
await page.evaluate(() => window.ready)
await page.screenshot({ path: "overview.png", omitBackground: true })
await browser.close()
